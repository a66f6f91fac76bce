"""The pairwise penalty matrix: how often one arm beats another, over the label counts of a setting.

A arms, S seeds, L label counts.

*Source:* Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds
(BADGE), ICLR 2020, section 4, "pairwise comparisons". For a setting (dataset, batch size, network)
and each of its label counts a two-sided paired t-test over the seeds compares each two arms, at the
5 % point: |t| > 2.776 for their five seeds. Whoever is higher beats the other there, and adds 1 / L
to the cell (winner, loser), so that all settings weigh alike: a cell is at most the number of
settings. A column's mean over the other arms says how often that arm is beaten.

*Differences:* any number of seeds, with the 5 % point of t with one degree of freedom less than
seeds; all label counts that the runs share but the first, at which no strategy has chosen yet
(there: those up to where random has 99 % of its final accuracy, spaced by doubling); accuracy in
place of error. No correction for the number of tests: the matrix counts, and proves nothing.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

Values = NDArray[np.float64]
LEVEL = 0.05


def beats(a: Values, b: Values, level: float = LEVEL) -> NDArray[np.int64]:
    """S L and S L, row by row of the same seed -> L: 1 where a is higher, -1 where b is, 0 where
    they are not separated, as where all differences are zero. Needs two seeds or more."""
    differences = a - b
    mean, deviation = differences.mean(axis=0), differences.std(axis=0, ddof=1)
    critical = -special.stdtrit(len(a) - 1, level / 2)
    # no division: where all seeds differ by the same, t is infinite
    beyond = np.abs(mean) * np.sqrt(len(a)) > critical * deviation
    found: NDArray[np.int64] = np.where(beyond, np.sign(mean), 0).astype(np.int64)
    return found


def penalties(outcomes: Mapping[tuple[int, int], Sequence[int]], arms: int) -> Values:
    """A A of one setting: the share of label counts at which row beats column, from what `beats`
    says of each two arms. NaN on the diagonal, and of two arms that were not compared."""
    matrix = np.full((arms, arms), np.nan)
    for (a, b), said in outcomes.items():
        wins = np.asarray(said)
        matrix[a, b], matrix[b, a] = (wins > 0).mean(), (wins < 0).mean()
    return matrix


def added(matrices: Iterable[Values]) -> Values:
    """A A over settings; NaN where two arms were compared in none of them."""
    stacked = np.stack([*matrices])
    known = np.isfinite(stacked).any(axis=0)
    return np.where(known, np.nansum(stacked, axis=0), np.nan)


def losses(matrix: Values) -> Values:
    """A: the mean of each column over the arms that it was compared with; NaN where with none."""
    known = np.isfinite(matrix)
    count = known.sum(axis=0)
    sums = np.where(known, matrix, 0).sum(axis=0)
    found: Values = sums / np.where(count, count, np.nan)
    return found
