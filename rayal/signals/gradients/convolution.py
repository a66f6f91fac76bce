"""Norms of the gradients of a convolution's kernel, per image."""

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from rayal.signals.gradients.layers import Layer, in_chunks, squares, sum_squares
from rayal.signals.gradients.outer_products import OuterProducts


class Convolution(Layer):
    """torch.conv2d."""

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
        self.kernel, self.groups = _pair(weight.shape[2:]), groups
        self.stride, self.dilation = _pair(stride), _pair(dilation)
        if isinstance(padding, str):
            input, padding = F.pad(input, self._sides(padding)), 0
        self.x, self.weight, self.bias, self.padding = input, weight, bias, _pair(padding)
        self.leading = input.shape[:1] if input.ndim == 4 else ()

    def _sides(self, padding: str) -> list[int]:
        """Zeros left, right, above, below; of an odd number, `same` has one more at the end."""
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        sides = [side for r in reversed(reach) for side in (r // 2, r - r // 2)]
        return sides if padding == "same" else [0, 0, 0, 0]

    def weight_norms(self, gradient: Tensor) -> Tensor:
        height, width = gradient.shape[2:]
        planes = Planes(self, height, width)
        if self.x.device.type == "cpu" and not planes.products.prefers_gram():
            size = self.x[0].numel() + gradient[0].numel() + 2 * cast(Tensor, self.weight).numel()
            return in_chunks(self.grouped_norms, self.x, gradient, size)
        return in_chunks(planes.norms, self.x, gradient, self.groups * planes.products.numbers())

    def grouped_norms(self, x: Tensor, gradient: Tensor) -> Tensor:
        """N, from one convolution in which every image is a group: fast on a CPU only."""
        images, outputs = gradient.shape[:2]
        weights: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]  # torch has no types here
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

    The rows of the output gradient are made as long as those of the padded input, with zeros where
    one ends. A stride s takes s x s planes, one for each place in the input's s x s squares.
    """

    def __init__(self, layer: Convolution, height: int, width: int) -> None:
        """`height` and `width` are those of the output."""
        self.layer = layer
        sizes = zip((height, width), layer.kernel, layer.stride, layer.dilation, strict=True)
        self.rows, self.columns = (size + d * (k - 1) // s for size, k, s, d in sizes)
        self.shifts = self._shifts()
        self.products = OuterProducts(
            outputs=cast(Tensor, layer.weight).shape[0] // layer.groups,
            inputs=layer.x.shape[1] // layer.groups,
            positions=self.rows * self.columns,
            length=(height - 1) * self.columns + width,
            shifts=list(self.shifts.values()),
        )

    def _shifts(self) -> dict[tuple[int, int], list[int]]:
        """For each plane, by its place in the squares: where the kernel's offsets start in it."""
        layer, shifts = self.layer, defaultdict(list)
        for i in range(0, layer.kernel[0] * layer.dilation[0], layer.dilation[0]):
            for j in range(0, layer.kernel[1] * layer.dilation[1], layer.dilation[1]):
                (row, y), (column, x) = divmod(i, layer.stride[0]), divmod(j, layer.stride[1])
                shifts[y, x].append(row * self.columns + column)
        return dict(shifts)

    def norms(self, x: Tensor, gradient: Tensor) -> Tensor:
        """N, from N C H W of the input and of the output's gradient."""
        padded, (vertical, horizontal) = self._padded(x), self.layer.stride
        planes = [self._by_group(padded[..., i::vertical, j::horizontal]) for i, j in self.shifts]
        if self.columns > gradient.shape[3]:
            gradient = F.pad(gradient, (0, self.columns - gradient.shape[3]))
        gradient = self._by_group(gradient)[..., : self.products.length]
        return self.products.norms(gradient, planes).view(len(x), -1).sum(1)

    def _padded(self, x: Tensor) -> Tensor:
        """Zeros around the image, or cut off it, so that every plane has its rows and columns."""
        above, left = self.layer.padding
        below = self.rows * self.layer.stride[0] - x.shape[2] - above
        right = self.columns * self.layer.stride[1] - x.shape[3] - left
        sides = (left, right, above, below)
        return F.pad(x, sides) if any(sides) else x

    def _by_group(self, x: Tensor) -> Tensor:
        """N G*C H W -> N*G C H*W."""
        if self.layer.groups == 1:
            return x.flatten(2)
        images, channels, groups = *x.shape[:2], self.layer.groups
        return x.reshape(images * groups, channels // groups, -1)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
