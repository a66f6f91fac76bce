"""How often random is called better than random: what is compared, and what is counted."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jobs.analyse.error_rates import Drawn, judge, told, write_features
from rayal.report.runs import Run

BASE = Run("alike", "features", "drawn", "supervised", 0, "accuracy", {}, True, "/runs/x")


def runs(spread: float) -> dict[int, list[Run]]:
    """Six seeds with four draws, whose heights differ by chance."""
    rng = np.random.default_rng(1)
    return {
        seed: [
            replace(
                BASE,
                seed=seed,
                points={50: 0.5} | {50 * n: 0.5 + rng.normal(0, spread) for n in range(2, 5)},
            )
            for _ in range(4)
        ]
        for seed in range(6)
    }


def test_alike_arms_are_rarely_told_apart() -> None:
    """Each comparison has arms of other draws of the same five seeds, and a verdict for each."""
    said = judge(runs(0.01), 100, 1, np.random.default_rng(0))

    assert {1} == {len(each) for each in said}
    assert sum(each != ["not separated"] for each in said) < 15
    assert {3} == {len(each) for each in judge(runs(0.01), 5, 3, np.random.default_rng(0))}


def test_equal_runs_are_a_tie() -> None:
    """Of draws that make no difference nothing is counted as an error."""
    assert [["tie"]] * 3 == judge(runs(0.0), 3, 1, np.random.default_rng(0))


def test_rates_by_hand() -> None:
    """A comparison is wrong once, whatever number of its arms is."""
    lines = told([["better", "better"], ["worse", "not separated"], *[["not separated"] * 2] * 2])

    assert lines[0].startswith("better: 1 of 4 comparisons, 25.0 % (")
    assert lines[1].startswith("better or worse: 2 of 4 comparisons, 50.0 % (")
    assert "verdicts: better 2, not separated 5, worse 1" == lines[2]


def test_features_are_a_dataset(tmp_path: Path) -> None:
    """64 pixels of each digit, all of them once."""
    write_features(tmp_path)
    pool, test = (np.load(tmp_path / f"{name}.npz") for name in ("pool", "test"))

    assert ((1437, 64), (360, 64)) == (pool["features"].shape, test["features"].shape)
    assert 1797 == len({*pool["id"], *test["id"]})


@pytest.mark.parametrize("draw", [0, 3])
def test_draws_are_uniform(draw: int) -> None:
    """Else the arms would differ."""

    noise = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    scores = Drawn(draw=draw).score(SimpleNamespace(noise=noise)).numpy()

    assert 0 <= scores.min() and scores.max() < 1
    assert np.histogram(scores, 10, (0, 1))[0] / 20_000 == pytest.approx(np.full(10, 0.1), abs=0.01)
    if draw:
        assert abs(np.corrcoef(scores, noise)[0, 1]) < 0.03
