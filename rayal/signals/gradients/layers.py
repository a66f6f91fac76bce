"""Norms of the gradients of one layer's parameters, per image, and never the gradients of a batch.

N images, C inputs and O outputs of a layer; * are further axes. A layer is one call of a torch
function that has parameters; its norms follow from its input and the gradient of its output.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from rayal.errors import UsageError
from rayal.signals.gradients.outer_products import OuterProducts

CPU_BYTES, GPU_BYTES = 2**24, 2**28
"""What the weight of one layer may use beside its input and output gradient, unless one image needs
more: about a CPU's cache; enough to keep a GPU busy."""


class Layer(ABC):
    """One call of a torch function, made of that function's own arguments.

    `leading` are the sizes of the axes that may be that of the images. The first one has to be; if
    there is none, the images cannot be told apart.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    leading: Sequence[int]

    @abstractmethod
    def weight_norms(self, gradient: Tensor) -> Tensor:
        """N: squared norms of the gradients of the weight, from the gradient of the output."""

    @abstractmethod
    def bias_norms(self, gradient: Tensor) -> Tensor:
        """N: squared norms of the gradients of the bias, from the gradient of the output."""


class Linear(Layer):
    """torch.nn.functional.linear, of N * C."""

    def __init__(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        self.x, self.weight, self.bias = input, weight, bias
        self.leading = input.shape[:-1] if weight.ndim == 2 else ()

    def weight_norms(self, gradient: Tensor) -> Tensor:
        x, gradient = self._columns(self.x), self._columns(gradient)
        length = x.shape[2]
        products = OuterProducts(gradient.shape[1], x.shape[1], length, length, [[0]])
        return in_chunks(lambda x, g: products.norms(g, [x]), x, gradient, products.numbers())

    def bias_norms(self, gradient: Tensor) -> Tensor:
        return sum_squares(self._columns(gradient))

    @staticmethod
    def _columns(x: Tensor) -> Tensor:
        """N * C -> N C L."""
        return x.reshape(len(x), prod(x.shape[1:-1]), x.shape[-1]).mT


class BatchNorm(Layer):
    """torch.nn.functional.batch_norm with running statistics, of N C *."""

    def __init__(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        self.x, self.weight, self.bias = input, weight, bias
        self.mean, self.variance, self.eps = running_mean, running_var, eps
        self.leading = input.shape[:1]
        if training:
            raise UsageError(
                "batch norm without running statistics mixes the images of a batch, which have no "
                "gradients of their own then; build the network with track_running_stats=True"
            )

    def weight_norms(self, gradient: Tensor) -> Tensor:
        """Torch's own backward, with every channel of every image as a channel: one pass."""
        assert self.mean is not None and self.variance is not None
        x, images = widened(self.x), len(self.x)
        _, slopes, _ = torch.ops.aten.native_batch_norm_backward(
            widened(gradient).reshape(1, images * x.shape[1], -1),
            x.reshape(1, images * x.shape[1], -1),
            None,
            self.mean.to(x.dtype).repeat(images),
            self.variance.to(x.dtype).repeat(images),
            None,
            None,
            False,
            self.eps,
            [False, True, False],
        )
        return squares(slopes.view(images, -1))

    def bias_norms(self, gradient: Tensor) -> Tensor:
        return sum_squares(gradient)


class GroupNorm(Layer):
    """torch.nn.functional.group_norm, of N C *."""

    def __init__(
        self,
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> None:
        self.x, self.weight, self.bias = input, weight, bias
        self.num_groups, self.eps = num_groups, eps
        self.leading = input.shape[:1]

    def weight_norms(self, gradient: Tensor) -> Tensor:
        return sum_squares(gradient * F.group_norm(widened(self.x), self.num_groups, eps=self.eps))

    def bias_norms(self, gradient: Tensor) -> Tensor:
        return sum_squares(gradient)


class LayerNorm(Layer):
    """torch.nn.functional.layer_norm, of N * and the axes of its weight."""

    def __init__(
        self,
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> None:
        self.x, self.weight, self.bias = input, weight, bias
        self.shape, self.eps = tuple(normalized_shape), eps
        self.leading = input.shape[: -len(self.shape)]

    def weight_norms(self, gradient: Tensor) -> Tensor:
        return self.bias_norms(gradient * F.layer_norm(widened(self.x), self.shape, eps=self.eps))

    def bias_norms(self, gradient: Tensor) -> Tensor:
        return squares(widened(gradient).reshape(len(gradient), -1, prod(self.shape)).sum(1))


def widened(x: Tensor) -> Tensor:
    """At least float32: squares and sums in half precision would overflow or drown."""
    return x if x.dtype == torch.float64 else x.float()


def in_chunks(
    norms: Callable[[Tensor, Tensor], Tensor], x: Tensor, gradient: Tensor, numbers: int
) -> Tensor:
    """norms(x, gradient), N, for a few images at a time; `numbers` is what one of them takes."""
    budget = CPU_BYTES if x.device.type == "cpu" else GPU_BYTES
    chunk = max(1, budget // (numbers * (8 if x.dtype == torch.float64 else 4)))
    parts = [slice(start, start + chunk) for start in range(0, len(x), chunk)]
    return torch.cat([norms(widened(x[part]), widened(gradient[part])) for part in parts])


def squares(x: Tensor) -> Tensor:
    """N *: the sum of the squares of each row."""
    return x.flatten(1).square().sum(1)


def sum_squares(x: Tensor) -> Tensor:
    """N C *: the sum over channels of the square of the sum over positions."""
    return widened(x).reshape(*x.shape[:2], -1).sum(2).square().sum(1)
