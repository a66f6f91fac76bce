"""Mean and standard deviation of the images of a pool, each looked at once.

C channels of an image; * are its sides. Pixels of 8 bits are counted value by value, which is
exact. Other numbers have no such list of values: their moments are joined image by image.

*Source*: Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample
variances, 1979, Eq. 2.1.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rayal.data.images import Stored

VALUES = 256  # of 8 bits


class Statistics(Protocol):
    """What is known of the images seen so far."""

    def add(self, image: Stored) -> None:
        """One more image, C *."""

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and population standard deviation, C each, of pixels in [0, 1] or of the numbers as
        they are."""

    @property
    def brightest(self) -> int:
        """The highest pixel of 8 bits; 255 where nobody looked, and for what is none."""


class Counts:
    """Of pixels of 8 bits: how often each value occurs."""

    def __init__(self, channels: int) -> None:
        self._values = np.zeros((channels, VALUES), np.int64)

    def add(self, image: Stored) -> None:
        # channel by channel: numpy counts in copies eight times as large
        for counts, channel in zip(self._values, image, strict=True):
            counts += np.bincount(channel.ravel(), minlength=VALUES)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = np.arange(VALUES) / (VALUES - 1)
        shares = self._values / self._values.sum(axis=1, keepdims=True)
        mean = shares @ values
        return mean, np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))

    @property
    def brightest(self) -> int:
        seen = np.flatnonzero(self._values.any(axis=0))
        return int(seen[-1]) if len(seen) else VALUES - 1


class Moments:
    """Of numbers of a measurement: how many there were, their mean, their squared distances."""

    brightest = VALUES - 1

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._mean, self._squares = np.zeros(channels), np.zeros(channels)

    def add(self, image: Stored) -> None:
        values = image.reshape(len(image), -1).astype(np.float64)
        before, new = self._count, values.shape[1]
        self._count += new
        mean = values.mean(axis=1)
        squares = ((values - mean[:, None]) ** 2).sum(axis=1)
        apart = mean - self._mean
        self._mean += apart * (new / self._count)
        self._squares += squares + apart**2 * (before * new / self._count)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._mean, np.sqrt(self._squares / max(self._count, 1))
