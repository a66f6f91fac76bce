"""Squared norms of sums of outer products, per image: a weight's gradient is such a sum.

N images (or groups of channels of images), O outputs, C inputs, L positions of the output, P of a
plane of the input. The gradient of one kernel offset is sum_l g_l a_{l + shift}^T, an O C matrix.

Source: the direct form is Goodfellow 2015 (arXiv:1510.01799), Sec. 4, with more than one position;
the Gram form, or ghost norm, is Li et al. 2022 (arXiv:2110.05679), Sec. 4; that layers choose is
Bu et al. 2022 (arXiv:2205.10683), Sec. 3.
Difference: the Gram matrix of an unfolded input is a sum of shifted blocks of that of the input.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ADDITION = 16
"""Multiplications in a matrix product that take as long as one addition to a matrix in memory."""

NARROW = 64
"""Inputs with fewer rows are joined before they are multiplied: thin products are slow."""


class OuterProducts(NamedTuple):
    """The sizes of the sums, which decide the form."""

    outputs: int
    inputs: int
    positions: int
    length: int
    shifts: Sequence[Sequence[int]]
    """For each plane, where the kernel's offsets start in it."""

    def norms(self, gradient: Tensor, planes: Sequence[Tensor]) -> Tensor:
        """N, from N O L and for each plane N C P."""
        return (self.gram if self.prefers_gram() else self.direct)(gradient, planes)

    def prefers_gram(self) -> bool:
        """Whether the Gram form takes fewer operations: it does with few positions."""
        offsets = sum(map(len, self.shifts))
        direct = offsets * self.outputs * self.inputs * self.length
        products = len(self.shifts) * self.positions**2 * self.inputs
        gram = products + self.length**2 * (self.outputs + ADDITION * offsets)
        return gram < direct

    def numbers(self) -> int:
        """How many numbers one image takes: padded copies, and the matrices of its form."""
        copies = len(self.shifts) * self.inputs * self.positions + self.outputs * self.length
        if self.prefers_gram():
            return copies + self.positions**2 + 2 * self.length**2
        rows = max(NARROW, self.inputs)
        return copies + rows * (self.outputs + self.length)

    def direct(self, gradient: Tensor, planes: Sequence[Tensor]) -> Tensor:
        """The sum of the squares of the gradient's entries."""
        squared = gradient.new_zeros(len(gradient))
        for factors in self._factors(planes):
            squared += torch.bmm(gradient, factors.mT).square().sum((1, 2))
        return squared

    def _factors(self, planes: Sequence[Tensor]) -> Iterator[Tensor]:
        """N C L for each offset; those of several, one below the other, where there are few C."""
        views = [
            plane[..., at : at + self.length]
            for plane, shifts in zip(planes, self.shifts, strict=True)
            for at in shifts
        ]
        joined = max(1, NARROW // self.inputs)
        for start in range(0, len(views), joined):
            some = views[start : start + joined]
            yield some[0] if len(some) == 1 else torch.cat(some, dim=1)

    def gram(self, gradient: Tensor, planes: Sequence[Tensor]) -> Tensor:
        """sum_{s,t} (g_s . g_t) (a_s . a_t), which never forms the gradient."""
        inputs = gradient.new_zeros(len(gradient), self.length, self.length)
        for plane, shifts in zip(planes, self.shifts, strict=True):
            products = torch.bmm(plane.mT, plane)  # N P P
            for at in shifts:
                inputs += products[:, at : at + self.length, at : at + self.length]
        outputs = torch.bmm(gradient.mT, gradient)
        return outputs.mul_(inputs).sum((1, 2)).clamp_min(0)  # rounding can fall below 0
