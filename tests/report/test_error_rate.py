"""How often a report calls random selection better than random selection, by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from rayal.report.groups import group
from rayal.report.runs import Run
from rayal.report.verdicts import verdicts

PAIRS, SEEDS, COUNTS = 200, 5, (20, 40, 80, 160)
LIMIT = 0.05
"""Of comparisons that say `better`."""


class Digits:
    """Learning curves that are really learned: the nearest mean of a class, on 64 pixels."""

    def __init__(self) -> None:
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        pixels, labels = digits.data[order] / 16, digits.target[order]
        self.pool, self.test = slice(360, None), slice(0, 360)
        self.pixels, self.labels, self.classes = pixels, labels, np.eye(10)[labels]

    def accuracy(self, units: NDArray[np.intp]) -> float:
        x, classes = self.pixels[self.pool][units], self.classes[self.pool][units]
        counts = classes.sum(axis=0)
        means = (classes.T @ x)[counts > 0] / counts[counts > 0, None]
        far = (means**2).sum(axis=1) - 2 * self.pixels[self.test] @ means.T
        said = np.flatnonzero(counts)[far.argmin(axis=1)]
        return float((said == self.labels[self.test]).mean())

    def curve(self, first: NDArray[np.intp], rng: np.random.Generator) -> dict[int, float]:
        """At each of COUNTS: the first labels, then others at random."""
        rest = rng.permutation(np.setdiff1d(np.arange(1437), first))
        units = np.concatenate([first, rest])
        return {count: self.accuracy(units[:count]) for count in COUNTS}


@pytest.fixture(scope="module")
def said() -> list[str]:
    """The verdict of each of 200 comparisons, whose runs are all drawn anew."""
    digits, found = Digits(), []
    for pair in range(PAIRS):
        runs = []
        for seed in range(SEEDS):
            rng = np.random.default_rng((pair, seed))
            first = rng.permutation(1437)[: COUNTS[0]]
            initial = frozenset(map(str, first))
            for name in ("random", "also_random"):
                points = digits.curve(first, rng)
                fields = ("a", "digits", name, "supervised", seed, "accuracy", points, True)
                runs.append(Run(*fields, f"/runs/{name}-{seed}", initial))
        (only,) = group(runs)
        (verdict,) = verdicts(only)
        found.append(verdict.kind)
    return found


def test_random_is_rarely_called_better_than_random(said: list[str]) -> None:
    """Among 200 comparisons of what is alike at most 5 % may say `better`, or nobody could trust
    one that says it."""
    assert PAIRS == len(said) and said.count("better") <= LIMIT * PAIRS


def test_it_is_a_test_that_can_fail(said: list[str]) -> None:
    """The comparisons must be such that an error could be made: not ties, and neither all alike."""
    assert {"not separated"} < {*said} and "tie" not in said and "unknown" not in said
    wrong = said.count("better") + said.count("worse")
    assert 1 <= wrong <= 2 * LIMIT * PAIRS


def test_what_is_better_is_called_so() -> None:
    """A report that never says `better` would make no error either: four labels for one."""
    digits, runs = Digits(), []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        first = rng.permutation(1437)[: COUNTS[0]]
        points = digits.curve(first, rng)
        ahead = {**points, **dict(zip(COUNTS[1:-1], [*points.values()][2:], strict=True))}
        for name, curve in (("random", points), ("oracle", ahead)):
            fields = ("a", "digits", name, "supervised", seed, "accuracy", curve, True)
            runs.append(Run(*fields, f"/runs/{name}-{seed}", frozenset(map(str, first))))
    (only,) = group(runs)
    (verdict,) = verdicts(only)

    assert "better" == verdict.kind
