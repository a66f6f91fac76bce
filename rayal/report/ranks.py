"""Ranks of arms, and whether they differ: Friedman's test and Nemenyi's critical difference.

B blocks, A arms. A block is what all arms were measured on: a dataset, or, where there is only one,
a seed of it. Seeds as blocks say that ranks differ by more than chance between trainings and first
labels on this dataset; they say nothing about other datasets.

*Source:* Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006,
sections 3.2.2 and 3.2.3 and figure 1.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Values = NDArray[np.float64]
LEVEL = 0.05


def ranks(values: ArrayLike) -> Values:
    """B A -> B A: 1 for the highest value of each block; equal ones share the mean of theirs."""
    from scipy.stats import rankdata  # takes half a second to import

    found: Values = rankdata(-np.asarray(values, dtype=np.float64), axis=1)
    return found


def friedman(values: ArrayLike) -> float:
    """p of Friedman's test that all arms rank alike: B A, two blocks and three arms or more.

    chi2 = (A - 1) sum_j (R_j - B (A + 1) / 2)^2 / sum_ij (r_ij - (A + 1) / 2)^2, with R_j the sum
    of an arm's ranks: corrected for ties, against chi2(A - 1), which for few blocks is cautious.
    1 where all are equal in every block.
    """
    r = ranks(values)
    blocks, arms = r.shape
    middle = (arms + 1) / 2
    spread = float(((r - middle) ** 2).sum())
    if spread == 0:
        return 1.0
    statistic = (arms - 1) * float(((r.sum(axis=0) - blocks * middle) ** 2).sum()) / spread
    return float(special.chdtrc(arms - 1, statistic))


@cache
def critical_difference(arms: int, blocks: int, level: float = LEVEL) -> float:
    """The difference in mean ranks from which on two arms are separated (Nemenyi):
    q sqrt(A (A + 1) / (6 B)), with q the studentised range's upper point over sqrt 2."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - level, arms, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(arms * (arms + 1) / (6 * blocks)))


class Ranking(NamedTuple):
    """How arms rank over blocks."""

    means: tuple[float, ...]
    """A: mean ranks, 1 the best."""
    blocks: int
    p: float
    """Of Friedman's test; where it is not below 0.05 nothing is separated, whatever the difference
    of two ranks."""
    critical: float

    @property
    def together(self) -> list[tuple[int, ...]]:
        """The largest sets of arms, each the best first, of which no two are separated; sets of one
        are left out. All in one where Friedman's test finds nothing."""
        order = sorted(range(len(self.means)), key=lambda arm: self.means[arm])
        if self.p >= LEVEL:
            return [tuple(order)]
        return _runs(order, self.means, self.critical)


def ranking(values: ArrayLike) -> Ranking:
    """Of the values of B blocks and A arms, the higher the better."""
    x = np.asarray(values, dtype=np.float64)
    blocks, arms = x.shape
    means = tuple(float(each) for each in ranks(x).mean(axis=0))
    return Ranking(means, blocks, friedman(x), critical_difference(arms, blocks))


def _runs(order: Sequence[int], means: Sequence[float], critical: float) -> list[tuple[int, ...]]:
    """Of arms in their order, the longest stretches narrower than the critical difference."""
    found = list[tuple[int, ...]]()
    end = 0
    for start, first in enumerate(order):
        near = [at for at in range(start, len(order)) if means[order[at]] - means[first] < critical]
        if len(near) > 1 and near[-1] >= end:
            found.append(tuple(order[start : near[-1] + 1]))
            end = near[-1] + 1
    return found
