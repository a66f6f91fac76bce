"""Influence of a unit on a loss: v . g with v = H^-1 (the sum of the gradients of that loss).

H is the Gauss-Newton matrix of the mean training loss (cross entropy), plus damping on its
diagonal: the Hessian of a network is indefinite, its Gauss-Newton matrix is not. Source: the AAAI
2022 gradient norm paper, Eqs. 3 to 5, which takes a positive definite Hessian for granted; the
factor 1/n is dropped.

n units, C classes, P numbers in all parameters looked at. A vector over the parameters is a flat
tensor, in their order. No n x P array is ever made.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp

from rayal.errors import UsageError
from rayal.models.network import LAST_LAYER
from rayal.signals.gradients.norms import gradient_norms

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits N C and true labels N -> N."""
Batches = Sequence[tuple[Tensor, Tensor]]
"""Images and true labels, in memory: a solution passes over them again and again."""

LARGEST = 8192
"""Side of a dense matrix: 0.5 GB in float64."""


class Slopes:
    """Derivatives of a network in eval mode with respect to some of its parameters."""

    def __init__(self, network: nn.Module, only: Sequence[str] | None = None) -> None:
        """`only` names parameters, all by default, such as `LAST_LAYER`."""
        assert not network.training, "batch norm would mix the images of a batch"
        self.network = network
        every = {name: p.detach() for name, p in network.named_parameters()}
        self.values = {n: p for n, p in every.items() if only is None or n in only}
        self._columns = [n in self.values for n in every]

    def logits(self, images: Tensor) -> Callable[[dict[str, Tensor]], Tensor]:
        """The logits of a batch, N C, as a function of the parameters."""

        def call(values: dict[str, Tensor]) -> Tensor:
            logits: Tensor = functional_call(self.network, values, (images,)).logits
            return logits

        return call

    def along(self, v: Tensor, images: Tensor, truth: Tensor, loss: Loss) -> Tensor:
        """N: v . g of each unit, in one forward pass."""
        logits, change = jvp(self.logits(images), (self.values,), (self._split(v),))[:2]
        slope: Tensor = (change * _at_logits(loss, logits, truth)).sum(1)
        return slope

    def norms(self, images: Tensor, truth: Tensor, loss: Loss) -> Tensor:
        """N: ||g|| of each unit over all parameters together, which Cauchy-Schwarz needs."""
        squares = gradient_norms(self.network, images, lambda logits: loss(logits, truth))
        return squares[:, self._columns].sum(1).sqrt()

    def gradient(self, batches: Batches, loss: Loss) -> Tensor:
        """P: the sum of g over all units."""
        total = torch.zeros_like(self._flat(self.values))
        for images, truth in batches:
            logits, pull = _reverse(self.logits(images), self.values)
            total += self._flat(pull(_at_logits(loss, logits, truth)))
        return total

    def curvature(self, batches: Batches, damping: float) -> Callable[[Tensor], Tensor]:
        """v -> (G + damping I) v, with G = 1/n sum J' (diag p - p p') J: the Gauss-Newton matrix
        of the mean cross entropy, in two passes over the units."""

        def product(v: Tensor) -> Tensor:
            total, units = torch.zeros_like(v), 0
            for images, _ in batches:
                logits, pull = _reverse(self.logits(images), self.values)
                change = jvp(self.logits(images), (self.values,), (self._split(v),))[1]
                p = logits.softmax(1)
                bent = p * (change - (p * change).sum(1, keepdim=True))
                total += self._flat(pull(bent))
                units += len(images)
            return total / units + damping * v

        return product

    def _flat(self, values: dict[str, Tensor]) -> Tensor:
        return torch.cat([values[name].reshape(-1) for name in self.values])

    def _split(self, v: Tensor) -> dict[str, Tensor]:
        parts = torch.split(v, [value.numel() for value in self.values.values()])
        pairs = zip(self.values.items(), parts, strict=True)
        return {name: part.view_as(value) for (name, value), part in pairs}


class Solution(NamedTuple):
    """x of A x = b, as far as it went."""

    x: Tensor
    iterations: int
    residual: float
    """||b - A x|| / ||b||."""


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float
) -> Solution:
    """Solves A x = b for a symmetric positive definite A that is known by its products alone.

    Stops at a relative residual of `tolerance`, or after so many `iterations`.
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = residual.clone(), float(residual @ residual)
    start, done = square, 0
    while done < iterations and square > tolerance**2 * start:
        image = product(direction)
        step = square / float(direction @ image)
        x, residual = x + step * direction, residual - step * image
        before, square = square, float(residual @ residual)
        direction = residual + (square / before) * direction
        done += 1
    return Solution(x, done, (square / start) ** 0.5 if start else 0.0)


def last_layer_curvature(network: nn.Module, batches: Batches, damping: float) -> Tensor:
    """G + damping I of the last linear layer, P x P with P = C D + C, as weights, then biases.

    Exact: at a linear layer, Gauss-Newton matrix and Hessian of cross entropy are the same. Raises
    UsageError for a layer that is too large.
    """
    weight, bias = (dict(network.named_parameters()).get(name) for name in LAST_LAYER)
    if weight is None or bias is None or weight.numel() + bias.numel() > LARGEST:
        raise UsageError(
            f"the last layer has no bias, or more than {LARGEST} numbers; take --layers all"
        )
    (classes, width), units = weight.shape, 0
    total = weight.new_zeros(classes, width + 1, classes, width + 1)
    for images, _ in batches:
        with torch.no_grad():
            outputs = network(images)
        p, a = outputs.logits.softmax(1), outputs.features
        a = torch.cat([a, torch.ones_like(a[:, :1])], dim=1)
        for c in range(classes):
            bent = -p[:, c : c + 1] * p
            bent[:, c] += p[:, c]
            total[c] += (a.T @ (bent[:, :, None] * a[:, None]).flatten(1)).view_as(total[c])
        units += len(images)
    matrix = total.view(classes, width + 1, -1) / units
    order = torch.arange(classes * (width + 1), device=weight.device).view(classes, width + 1)
    order = torch.cat([order[:, :width].reshape(-1), order[:, width]])
    matrix = matrix.reshape(len(order), -1)[order][:, order]
    return matrix + damping * torch.eye(len(order)).to(matrix)


def _reverse(f: Callable[[Any], Tensor], at: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """f(at), and what takes its gradient to that of `at`."""
    value, pull, *_ = vjp(f, at)
    return value, lambda gradient: pull(gradient)[0]


def _at_logits(loss: Loss, logits: Tensor, truth: Tensor) -> Tensor:
    """N C: the gradient of each unit's loss with respect to its logits."""
    z = logits.detach().requires_grad_()
    gradient: Tensor = torch.autograd.grad(loss(z, truth).sum(), z)[0]
    return gradient
