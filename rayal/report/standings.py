"""How all arms stand against each other: who beats whom how often, and how they rank.

A arms, L label counts; of one group, or over several groups (datasets) that have arms in common.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations
from statistics import mean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.report.arms import Arm
from rayal.report.groups import Group
from rayal.report.penalties import added, beats, losses, penalties
from rayal.report.ranks import Ranking, ranking, ranks

Values = NDArray[np.float64]
RANKED = 3
"""Arms that are ranked at least: of two, the paired test says all."""
SEEDS, DATASETS = "seeds", "datasets"


class Standings(NamedTuple):
    """All arms of a group, or those that all groups have."""

    title: str
    arms: tuple[str, ...]
    penalties: Values
    """A A: over settings, the share of label counts at which row beats column; see there."""
    settings: int
    """How many groups are added up: what a cell can be at most."""
    counts: tuple[int, ...]
    """The label counts that were compared; () over several groups, of which each has its own."""
    ranking: Ranking | None
    """Of areas; None for fewer than RANKED arms or two blocks."""
    blocks: str
    """What a block of the ranking is: SEEDS of one dataset, or DATASETS."""
    by_count: Mapping[int, tuple[float, ...]]
    """Label count -> A: mean ranks over seeds; {} over several groups, and without a ranking."""

    @property
    def wins(self) -> Values:
        """A: how often each beats another, mean over the others; the higher, the better."""
        return losses(self.penalties.T)

    @property
    def losses(self) -> Values:
        """A: how often each is beaten, mean over the others; the lower, the better."""
        return losses(self.penalties)

    @property
    def order(self) -> list[int]:
        """The arms, the best mean rank first; as they are where they have none."""
        means = (0.0,) * len(self.arms) if self.ranking is None else self.ranking.means
        return sorted(range(len(self.arms)), key=lambda arm: means[arm])

    @property
    def compared(self) -> bool:
        """Whether some two arms had seeds enough to be compared."""
        return bool(np.isfinite(self.penalties).any())


def of_group(g: Group) -> Standings:
    """Over the seeds that arms have in common."""
    counts = g.shared[1:] if g.tested else []  # no strategy has chosen at the first
    outcomes = {}
    for (i, a), (j, b) in combinations(enumerate(g.arms), 2):
        seeds = a.paired(b)
        if counts and len(seeds) > 1:
            outcomes[i, j] = beats(_values(a, seeds, counts), _values(b, seeds, counts)).tolist()
    blocks = _blocks(g)
    ranked = len(g.arms) >= RANKED and len(blocks) > 1 and len(g.shared) > 1 and g.tested
    areas = [[g.areas(arm)[seed] for arm in g.arms] for seed in blocks] if ranked else []
    return Standings(
        g.question,
        tuple(arm.label for arm in g.arms),
        penalties(outcomes, len(g.arms)),
        1,
        tuple(counts),
        ranking(areas) if ranked else None,
        SEEDS,
        {at: _mean_ranks(g, blocks, at) for at in g.shared} if ranked else {},
    )


def over_groups(groups: Sequence[Group]) -> Standings | None:
    """Over the arms that all groups of several have by name; None where these are not two."""
    tested = [g for g in groups if g.tested and len(g.shared) > 1]
    named = [[arm.label for arm in g.arms if arm.complete] for g in tested]
    if len(tested) < 2:
        return None
    common = reduce(lambda kept, names: [name for name in kept if name in names], named)
    if len(common) < 2:
        return None
    matrices = []
    for g in tested:
        standings = of_group(g)
        at = [standings.arms.index(name) for name in common]
        matrices.append(standings.penalties[np.ix_(at, at)])
    arms = [{arm.label: arm for arm in g.arms} for g in tested]
    areas = [
        [mean(g.areas(by_name[name]).values()) for name in common]
        for g, by_name in zip(tested, arms, strict=True)
    ]
    return Standings(
        f"{len(tested)} datasets and experiments",
        tuple(common),
        added(matrices),
        len(tested),
        (),
        ranking(areas) if len(common) >= RANKED else None,
        DATASETS,
        {},
    )


def _values(arm: Arm, seeds: Sequence[int], counts: Sequence[int]) -> Values:
    """S L of complete runs."""
    runs = {run.seed: run for run in arm.complete}
    return np.array([[runs[seed].points[at] for at in counts] for seed in seeds])


def _blocks(g: Group) -> list[int]:
    """The seeds with which all arms have a complete run that began with the same units."""
    if not g.arms:
        return []
    first, *others = g.arms
    seeds = [run.seed for run in first.complete]
    return [seed for seed in seeds if all(seed in first.paired(other) for other in others)]


def _mean_ranks(g: Group, seeds: Sequence[int], at: int) -> tuple[float, ...]:
    values = np.array([_values(arm, seeds, [at])[:, 0] for arm in g.arms]).T
    return tuple(float(each) for each in ranks(values).mean(axis=0))
