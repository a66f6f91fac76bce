"""How far arms choose the same units: the share of what either bought that both did, seed by seed.

A arms, in the order of their group; T cycles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean
from typing import Any, NamedTuple

from rayal.report.arms import Arm
from rayal.report.groups import BASELINE, Group
from rayal.report.runs import DATA, Run
from rayal.report.table import Table

MOST = 20
"""Arms of a group that are compared."""

Picks = frozenset[str]


def jaccard(first: Picks, second: Picks) -> float:
    """The share of the units of either that are in both, 0 to 1; at least one has some."""
    return len(first & second) / len(first | second)


class Overlap(NamedTuple):
    """Two arms: mean over the seeds with which both began with the same units of the same data."""

    first: str
    second: str
    seeds: int
    bought: float
    """Jaccard's index of all that they chose after the first labels, up to the last cycle of which
    there is a choice of both."""
    by_cycle: tuple[float, ...]  # T
    """Of what each cycle chose, while all these seeds have a choice of both. From the second on
    arms choose from pools that differ by what they had bought."""


@dataclass(frozen=True)
class Overlaps:
    """Of all arms of a group that can be compared."""

    arms: Sequence[str]  # A
    pairs: Sequence[Overlap]

    @property
    def matrix(self) -> list[list[float | None]]:
        """`bought` of every two, A A: 1 on the diagonal, None where they share no seed."""
        found = {frozenset(each[:2]): each.bought for each in self.pairs}
        return [
            [1.0 if one == other else found.get(frozenset((one, other))) for other in self.arms]
            for one in self.arms
        ]


def overlaps(group: Group) -> Overlaps:
    """Of every two arms of a group, of which the first MOST count."""
    arms = group.arms[:MOST]
    found = (_overlap(*pair) for pair in combinations(arms, 2))
    pairs = [each for each in found if each is not None]
    named = {name for pair in pairs for name in pair[:2]}
    return Overlaps([arm.label for arm in arms if arm.label in named], pairs)


def shown_by_cycle(group: Group, found: Overlaps) -> list[Overlap]:
    """The pairs whose cycles are shown: those that are tested, see `Group.pairs`."""
    baselines = {arm.label for arm in group.arms if arm.strategy == BASELINE}
    return [each for each in found.pairs if group.compares_all or baselines & {*each[:2]}]


def overlap_table(group: Group) -> Table:
    """The matrix of a group in per cent; no rows where no two arms can be compared."""
    found = overlaps(group)
    rows = [
        [name, *("–" if value is None else f"{100 * value:.0f}" for value in row)]
        for name, row in zip(found.arms, found.matrix, strict=True)
    ]
    title = f"{group.question}: units that both bought (%)"
    return Table(title, ["arm", *found.arms], rows, note(group))


def note(group: Group) -> str:
    """What the matrix is of."""
    told = (
        "of all units that either chose after the first labels (Jaccard's index), mean over seeds"
        " that began with the same units"
    )
    left = len(group.arms) - MOST
    return f"{told}; without {left} further arms" if left > 0 else told


def to_json(group: Group) -> list[dict[str, Any]]:
    """Every pair, unrounded."""
    return [each._asdict() for each in overlaps(group).pairs]


def _overlap(first: Arm, second: Arm) -> Overlap | None:
    pairs = [pair for pair in _by_seed(first, second) if _common(*pair)]
    if not pairs:
        return None
    common = set.intersection(*({*_common(*pair)} for pair in pairs))
    return Overlap(
        first.label,
        second.label,
        len(pairs),
        mean(jaccard(_all(a, _common(a, b)), _all(b, _common(a, b))) for a, b in pairs),
        tuple(mean(jaccard(a.picks[c], b.picks[c]) for a, b in pairs) for c in sorted(common)),
    )


def _by_seed(first: Arm, second: Arm) -> list[tuple[Run, Run]]:
    """The runs of the same seed, data and first units."""
    others = {run.seed: run for run in second.runs}
    pairs = [(run, others[run.seed]) for run in first.runs if run.seed in others]
    data = [{run.settings.get(DATA) for run in pair} for pair in pairs]
    same = zip(pairs, data, strict=True)
    return [(a, b) for (a, b), of in same if a.initial == b.initial and len(of) == 1]


def _common(first: Run, second: Run) -> Sequence[int]:
    """The cycles of which there is a choice of both."""
    return sorted(first.picks.keys() & second.picks.keys())


def _all(run: Run, cycles: Sequence[int]) -> Picks:
    return frozenset(unit for cycle in cycles for unit in run.picks[cycle])
