"""Krippendorff's alpha against a published case and a naive loop; who agrees with the labels."""

import itertools

import numpy as np
import pytest

from rayal.data.masks import IGNORE, encode
from rayal.labeling.oracles.base import Label
from rayal.labeling.reliability import Annotator, alpha, annotators
from rayal.labeling.votes import Vote, by_unit

FOUR = """
A 1 2 3 3 2 1 4 1 2 . . .
B 1 2 3 3 2 2 4 1 2 5 . 3
C . 3 3 3 2 3 4 2 2 5 1 .
D 1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff (2011), section C: nominal data, any number of observers, missing data."""


def table(text: str) -> dict[str, list[Vote]]:
    rows = [line.split() for line in text.split("\n") if line]
    return by_unit(
        Vote(f"u{unit}", None if value == "." else int(value), name)
        for name, *values in rows
        for unit, value in enumerate(values)
    )


def naive(votes: dict[str, list[Vote]]) -> float | None:
    """From the matrix of coincidences, pair by pair."""
    pairs = dict[tuple[int, int], float]()
    for each in votes.values():
        values = [vote.value for vote in each if vote.value is not None]
        for first, second in itertools.permutations(range(len(values)), 2):
            key = int(values[first]), int(values[second])
            pairs[key] = pairs.get(key, 0.0) + 1 / (len(values) - 1)
    n = sum(pairs.values())
    seen = {value: sum(p for (c, _), p in pairs.items() if c == value) for value, _ in pairs}
    observed = sum(p for (c, k), p in pairs.items() if c != k)
    expected = sum(a * b for (c, a), (k, b) in itertools.product(seen.items(), repeat=2) if c != k)
    return 1 - (n - 1) * observed / expected if expected else None


def test_the_published_case() -> None:
    """Agreement would be reported that no other program finds: 0.743 is the paper's."""
    assert 0.743 == pytest.approx(alpha(table(FOUR)), abs=5e-4)
    assert naive(table(FOUR)) == pytest.approx(alpha(table(FOUR)), abs=1e-12)


def test_a_case_by_hand() -> None:
    """Two annotators, four units, one difference: D_o = 2/8, D_e = 2 * 3 * 5 / (8 * 7)."""
    votes = table("A 0 0 1 1\nB 0 1 1 1")

    assert 1 - (2 / 8) / (30 / 56) == pytest.approx(alpha(votes))


@pytest.mark.parametrize("seed", range(5))
def test_against_a_naive_loop(seed: int) -> None:
    """Missing answers, of which each unit has another number, would weigh wrong."""
    rng = np.random.default_rng(seed)
    votes = by_unit(
        Vote(f"u{unit}", None if rng.random() < 0.3 else int(rng.integers(4)), f"a{who}")
        for unit in range(30)
        for who in range(rng.integers(1, 5))
    )

    assert naive(votes) == pytest.approx(alpha(votes), abs=1e-12)


def test_pixels_of_masks_are_units() -> None:
    """Two drawings that differ in one pixel would count as one disagreement of one."""
    rng = np.random.default_rng(0)
    masks = rng.choice([0, 1, IGNORE], (2, 3, 6, 5)).astype(np.uint8)  # V U H W
    drawn = by_unit(Vote(f"u{u}", encode(masks[v, u]), f"a{v}") for u in range(3) for v in range(2))
    pixels = by_unit(
        Vote(f"{u}-{i}", None if value == IGNORE else int(value), f"a{v}")
        for v, u in np.ndindex(2, 3)
        for i, value in enumerate(masks[v, u].ravel())
    )

    assert naive(pixels) == pytest.approx(alpha(drawn), abs=1e-12)


@pytest.mark.parametrize("votes", ["A 1 2 3", "A 1 1\nB 1 1", "A . .\nB 1 2", "A .\nB ."])
def test_where_it_says_nothing(votes: str) -> None:
    """All answers alike, or none to compare, would be shown as perfect agreement, or as 0/0."""
    assert alpha(table(votes)) is None and alpha({}) is None


def test_annotators() -> None:
    """Who skips everything, or contradicts everybody, could not be seen."""
    votes = by_unit(
        [
            Vote("a", 1, "ann", 2.0),
            Vote("a", 1, "bob", 4.0),
            Vote("a", 2, "", 9.0),
            Vote("b", 3, "ann", 6.0),
            Vote("c", None, "bob"),
            Vote("c", 5, "ann"),
        ]
    )
    labels = {"a": Label(1, 1.0), "b": Label(3, 1.0)}

    assert [
        Annotator("", 1, 0, 1, 0, 9.0),
        Annotator("ann", 3, 0, 1, 1, 4.0),
        Annotator("bob", 2, 1, 1, 1, 4.0),
    ] == annotators(votes, labels)
