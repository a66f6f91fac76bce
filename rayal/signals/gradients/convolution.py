"""Norms of the gradients of a convolution's kernel, per image.

N images of C channels, with one, two or three sides: * are the sides of input and output.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any, cast

from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from rayal.signals.gradients.layers import Layer, in_chunks, squares, sum_squares
from rayal.signals.gradients.outer_products import OuterProducts

Sides = tuple[int, ...]
"""One number for each side of the images, in the order of the axes."""

WEIGHT_GRADIENT: tuple[Callable[..., Any], ...] = (conv1d_weight, conv2d_weight, conv3d_weight)
"""Torch's own, of images with one, two and three sides."""


class Convolution(Layer):
    """torch.conv1d, conv2d and conv3d: the sides of the kernel say which."""

    def __init__(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> None:
        self.kernel, self.groups = tuple(weight.shape[2:]), groups
        self.stride, self.dilation = self._each(stride), self._each(dilation)
        if isinstance(padding, str):
            input, padding = F.pad(input, self._ends(padding)), 0
        self.x, self.weight, self.bias, self.padding = input, weight, bias, self._each(padding)
        self.leading = input.shape[:1] if input.ndim == weight.ndim else ()

    def _each(self, size: int | Sequence[int]) -> Sides:
        """A number for each side, of one for all of them or of one each."""
        given = [size] if isinstance(size, int) else [*size]
        return tuple(given * len(self.kernel) if len(given) == 1 else given)

    def _ends(self, padding: str) -> list[int]:
        """Zeros before and after each side, the last side first; of an odd number, `same` has one
        more at the end."""
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        ends = [end for r in reversed(reach) for end in (r // 2, r - r // 2)]
        return ends if padding == "same" else [0] * len(ends)

    def weight_norms(self, gradient: Tensor) -> Tensor:
        planes = Planes(self, tuple(gradient.shape[2:]))
        if self.x.device.type == "cpu" and not planes.products.prefers_gram():
            size = self.x[0].numel() + gradient[0].numel() + 2 * cast(Tensor, self.weight).numel()
            return in_chunks(self.grouped_norms, self.x, gradient, size)
        return in_chunks(planes.norms, self.x, gradient, self.groups * planes.products.numbers())

    def grouped_norms(self, x: Tensor, gradient: Tensor) -> Tensor:
        """N, from one convolution in which every image is a group: fast on a CPU only."""
        images, outputs = gradient.shape[:2]
        weights: Tensor = WEIGHT_GRADIENT[len(self.kernel) - 1](
            x.reshape(1, -1, *x.shape[2:]),
            (images * outputs, *cast(Tensor, self.weight).shape[1:]),
            gradient.reshape(1, -1, *gradient.shape[2:]),
            self.stride,
            self.padding,
            self.dilation,
            images * self.groups,
        )
        return squares(weights.view(images, -1))

    def bias_norms(self, gradient: Tensor) -> Tensor:
        return sum_squares(gradient)


class Planes:
    """The input of a convolution such that every kernel offset is a view of it, shifted.

    The rows of the output gradient, and all sides but the first, are made as long as those of the
    padded input, with zeros where one ends. A stride s takes a plane for each place in the input's
    squares of s x s, or cubes of s x s x s.
    """

    def __init__(self, layer: Convolution, output: Sides) -> None:
        """`output` are the sides of the output."""
        self.layer = layer
        sizes = zip(output, layer.kernel, layer.stride, layer.dilation, strict=True)
        self.sides = tuple(size + d * (k - 1) // s for size, k, s, d in sizes)
        self.steps = tuple(prod(self.sides[axis + 1 :]) for axis in range(len(output)))
        """How far neighbours along each side lie apart in a flattened plane."""
        self.shifts = self._shifts()
        self.products = OuterProducts(
            outputs=cast(Tensor, layer.weight).shape[0] // layer.groups,
            inputs=layer.x.shape[1] // layer.groups,
            positions=prod(self.sides),
            length=self._place([size - 1 for size in output]) + 1,
            shifts=list(self.shifts.values()),
        )

    def _place(self, position: Sequence[int]) -> int:
        """Where a position lies in a flattened plane."""
        return sum(at * step for at, step in zip(position, self.steps, strict=True))

    def _shifts(self) -> dict[Sides, list[int]]:
        """For each plane, by its place in the squares: where the kernel's offsets start in it."""
        layer, shifts = self.layer, defaultdict[Sides, list[int]](list)
        reach = (range(0, k * d, d) for k, d in zip(layer.kernel, layer.dilation, strict=True))
        for offset in product(*reach):
            found = [divmod(at, s) for at, s in zip(offset, layer.stride, strict=True)]
            place = tuple(inside for _, inside in found)
            shifts[place].append(self._place([whole for whole, _ in found]))
        return dict(shifts)

    def norms(self, x: Tensor, gradient: Tensor) -> Tensor:
        """N, from N C * of the input and of the output's gradient."""
        padded, strides = self._padded(x), self.layer.stride
        planes = []
        for place in self.shifts:
            every = [slice(at, None, stride) for at, stride in zip(place, strides, strict=True)]
            index: tuple[Any, ...] = ..., *every
            planes.append(self._by_group(padded[index]))
        gaps = [has - size for has, size in zip(self.sides[1:], gradient.shape[3:], strict=True)]
        if any(gaps):
            gradient = F.pad(gradient, [end for gap in reversed(gaps) for end in (0, gap)])
        gradient = self._by_group(gradient)[..., : self.products.length]
        return self.products.norms(gradient, planes).view(len(x), -1).sum(1)

    def _padded(self, x: Tensor) -> Tensor:
        """Zeros around the image, or cut off it, so that every plane has all its sides."""
        ends = list[int]()
        sides = zip(self.sides, self.layer.stride, self.layer.padding, x.shape[2:], strict=True)
        for side, stride, before, size in sides:
            ends = [before, side * stride - size - before, *ends]  # the last side comes first
        return F.pad(x, ends) if any(ends) else x

    def _by_group(self, x: Tensor) -> Tensor:
        """N G*C * -> N*G C L, L all positions."""
        if self.layer.groups == 1:
            return x.flatten(2)
        images, channels, groups = *x.shape[:2], self.layer.groups
        return x.reshape(images * groups, channels // groups, -1)
