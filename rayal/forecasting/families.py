"""Shapes that a learning curve may have: how fast the error falls, whatever its height.

A shape g is 1 at the first and 0 at the last label count that was measured, and falls to its floor,
which is below 0, as labels grow without end. The error is u + s g, with u the error at the last
count and s what it fell by; so all shapes share two numbers that are read off the data.

*Source*: power laws with an offset, Hestness et al., Deep learning scaling is predictable,
empirically, 2017, and POW4 of Viering and Loog, The shape of learning curves, 2021; the exponential
beside them as in Domhan et al., 2015, whose mixtures of families this follows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

POWERS = tuple(np.geomspace(0.1, 3.0, 14))
"""Exponents b of (n + d)^-b."""
SHIFTS = (0.0, 0.5, 2.0, 6.0)
"""Offsets d, in units of the first label count: with them a curve starts flat."""
RATES = tuple(np.geomspace(0.2, 12.0, 12))
"""Rates of exp(-k n), in units of the range of label counts."""
POWER, EXPONENTIAL, FLAT = 0.7, 0.25, 0.05
"""What each family is believed before anything is measured: power laws extrapolate best."""


class Shape(NamedTuple):
    """How fast an error falls."""

    first: float
    last: float
    power: float | None = None
    shift: float = 0.0
    rate: float | None = None
    """With neither power nor rate it does not fall."""
    belief: float = 1.0

    @property
    def flat(self) -> bool:
        """Whether the error stays as it is."""
        return self.power is None and self.rate is None

    def at(self, labels: Numbers) -> Numbers:
        """g at these label counts."""
        if self.flat:
            return np.zeros_like(labels)
        top, bottom = self._raw(np.array([self.first, self.last]))
        g: Numbers = (self._raw(labels) - bottom) / (top - bottom)
        return g

    @property
    def floor(self) -> float:
        """g without end."""
        if self.flat:
            return 0.0
        top, bottom = self._raw(np.array([self.first, self.last]))
        return float(-bottom / (top - bottom))

    def _raw(self, labels: Numbers) -> Numbers:
        if self.power is not None:
            moved = (labels + self.shift * self.first) / self.first
            raw: Numbers = moved**-self.power
            return raw
        assert self.rate is not None
        fallen: Numbers = np.exp(-self.rate * (labels - self.first) / (self.last - self.first))
        return fallen


def shapes(first: float, last: float) -> Iterator[Shape]:
    """All of them, for label counts from the first to the last that was measured."""
    each = POWER / (len(POWERS) * len(SHIFTS))
    for power in POWERS:
        for shift in SHIFTS:
            yield Shape(first, last, power=float(power), shift=shift, belief=each)
    for rate in RATES:
        yield Shape(first, last, rate=float(rate), belief=EXPONENTIAL / len(RATES))
    yield Shape(first, last, belief=FLAT)
