"""Whether what was bought has the classes of the pool: shares, divergence and a test.

C classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


class Balance(NamedTuple):
    """The classes of what was bought beside those of the pool that it was bought from."""

    bought: tuple[int, ...]
    """C."""
    expected: tuple[float, ...]
    """C: as many of each as a random choice would have on average."""
    divergence: float
    """Kullback and Leibler's, of the shares bought from those of the pool, in bits: 0 for the same
    shares; infinite where a class was bought that the pool has not."""
    p: float | None
    """Of Pearson's chi-square test that these were drawn at random; None where that has nothing to
    say: fewer than two classes are in the pool, or nothing was bought."""
    rough: bool
    """Whether some class has an expected count below 5, where p is an approximation only."""


def balance(bought: ArrayLike, pool: ArrayLike) -> Balance:
    """Of counts by class: what was bought (C), and the pool before (C), which holds it.

    The test is that of draws with replacement: of a large part of a small pool it is cautious.
    """
    chosen, there = np.asarray(bought, dtype=np.float64), np.asarray(pool, dtype=np.float64)
    if not there.sum():
        raise ValueError("the pool is empty, so nothing was bought from it")
    shares = there / there.sum()
    expected = shares * chosen.sum()
    known = shares > 0
    p = None
    if chosen[~known].any():
        p = 0.0
    elif chosen.sum() and known.sum() > 1:
        statistic = ((chosen[known] - expected[known]) ** 2 / expected[known]).sum()
        p = float(special.chdtrc(known.sum() - 1, statistic))
    return Balance(
        tuple(int(each) for each in chosen),
        tuple(expected.tolist()),
        float(special.rel_entr(chosen / chosen.sum(), shares).sum()) / np.log(2)
        if chosen.sum()
        else 0.0,
        p,
        bool((expected[known] < 5).any()),
    )
