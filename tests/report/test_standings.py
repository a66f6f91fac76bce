"""How arms of groups stand against each other: matrices and ranks of runs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rayal.report.groups import Group, group
from rayal.report.runs import Run
from rayal.report.standings import DATASETS, SEEDS, of_group, over_groups

BASE = Run("a", "digits", "margin", "supervised", 0, "accuracy", {}, True, "/runs/x")


def runs(strategy: str, curve: Sequence[float], seeds: int = 5, **changes: object) -> list[Run]:
    """At 100, 200, ...; a seed adds 0.01."""
    return [
        replace(
            BASE,
            strategy=strategy,
            seed=seed,
            points={100 * (n + 1): y + 0.01 * seed for n, y in enumerate(curve)},
            **changes,
        )
        for seed in range(seeds)
    ]


THREE = [
    *runs("a", [0.5, 0.8, 0.9]),
    *runs("b", [0.5, 0.7, 0.9]),
    *runs("random", [0.5, 0.6, 0.7]),
]


def only(made: list[Run]) -> Group:
    (g,) = group(made)
    return g


def test_by_hand() -> None:
    """a beats b at one of the two counts after the first, and random at both."""
    found = of_group(only(THREE))
    nan = np.nan

    assert (("a", "b", "random"), (200, 300)) == (found.arms, found.counts)
    assert_array_equal(found.penalties, [[nan, 0.5, 1], [0, nan, 1], [0, 0, nan]])
    assert_array_equal(found.losses, [0, 0.25, 1])
    assert_array_equal(found.wins, [0.75, 0.5, 0])


def test_ranks_by_hand() -> None:
    """All three share the first model; at the end a and b do; the areas are in their order."""
    found = of_group(only(THREE))

    assert {100: (2, 2, 2), 200: (1, 2, 3), 300: (1.5, 1.5, 3)} == found.by_count
    assert found.ranking is not None
    assert ((1, 2, 3), 5, SEEDS) == (found.ranking.means, found.ranking.blocks, found.blocks)
    assert [0, 1, 2] == found.order


def test_seeds_that_began_otherwise_are_no_pair() -> None:
    """Their difference is of what they began with (L05)."""
    other = [replace(run, initial=frozenset("x")) for run in runs("c", [0.5, 0.6, 0.7])]
    found = of_group(only([*THREE, *other]))

    assert np.isnan(found.penalties[2]).all()
    assert found.ranking is None and {} == found.by_count
    assert np.isnan(found.losses[2]) and 0.25 == found.losses[1]


@pytest.mark.parametrize(
    "made",
    [
        runs("a", [0.5, 0.6], 1) + runs("b", [0.5, 0.6], 1) + runs("c", [0.5, 0.6], 1),
        runs("a", [0.5]) + runs("b", [0.5]) + runs("c", [0.5]),
        [replace(run, metric="new_accuracy") for run in THREE],
        [replace(run, complete=False) for run in THREE],
    ],
)
def test_nothing_to_rank(made: list[Run]) -> None:
    """One seed, one number of labels, no test images, nothing complete."""
    found = of_group(only(made))

    assert found.ranking is None
    assert not found.compared


def test_datasets_are_blocks_where_there_are_several() -> None:
    """Penalties add up, a dataset weighs 1; areas are ranked once for each."""
    other = [replace(run, dataset="letters") for run in THREE if run.strategy != "b"]
    more = [replace(run, dataset="letters") for run in runs("b", [0.5, 0.9, 0.95])]
    found = over_groups(group([*THREE, *other, *more]))

    assert found is not None
    assert (("a", "b", "random"), 2, DATASETS) == (found.arms, found.settings, found.blocks)
    assert_array_equal(found.penalties[0, 1:], [0.5, 2])
    assert_array_equal(found.penalties[1, [0, 2]], [1, 2])
    assert found.ranking is not None
    assert_allclose(found.ranking.means, (1.5, 1.5, 3))


def test_groups_without_common_arms() -> None:
    """Two strategies in common are the least that can be compared."""
    other = [replace(run, dataset="letters") for run in runs("c", [0.5, 0.6, 0.7])]

    assert over_groups(group([*THREE, *other])) is None
    assert over_groups(group(THREE)) is None
