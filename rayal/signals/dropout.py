"""Dropout while scoring: masks that belong to units, not to batches.

Only dropout layers wake up; batch norm stays as it is. Each unit has a stream of random numbers
of its own, decided by its key alone, and the forward passes take from it in the order in which they
come to dropout layers: whatever batch or worker a unit is in, it sees the same noise, and no layer,
call or pass sees the noise of another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from rayal.errors import UsageError
from rayal.models.device import sent

CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
GAMMA, FIRST, SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""Constants of splitmix64 (Steele et al., OOPSLA 2014), as signed numbers."""


class UnitNoise:
    """Random numbers of N units: a stream for each, the same in any batch and on any device."""

    def __init__(self, keys: NDArray[np.uint64], device: torch.device) -> None:
        self.seeds = sent(torch.from_numpy(keys.astype(np.uint64).view(np.int64)), device)
        self.taken = 0

    def take(self, count: int) -> Tensor:
        """The next `count` numbers of every unit, N count, uniform in [0, 1), float32."""
        start, self.taken = self.taken, self.taken + count
        places = torch.arange(start + 1, self.taken + 1, device=self.seeds.device)
        z = self.seeds[:, None] + places * GAMMA
        z = (z ^ _shifted(z, 30)) * FIRST
        z = (z ^ _shifted(z, 27)) * SECOND
        z = z ^ _shifted(z, 31)
        return _shifted(z, 40).float() * 2.0**-24


def dropout_layers(model: nn.Module) -> list[_DropoutNd]:
    """The layers that drop something.

    Raises UsageError for a kind whose masks rayal cannot give to units.
    """
    layers = [m for m in model.modules() if isinstance(m, _DropoutNd) and m.p > 0]
    for layer in layers:
        if type(layer) not in (nn.Dropout, *CHANNELWISE):
            raise UsageError(
                f"{type(layer).__name__} cannot be kept on while scoring; use Dropout or Dropout2d"
            )
    return layers


@contextmanager
def unit_dropout(model: nn.Module, noise: UnitNoise) -> Iterator[None]:
    """Dropout is on inside, for a batch of the units of `noise`, one per row."""
    hooks = [layer.register_forward_hook(partial(_drop, noise)) for layer in dropout_layers(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _drop(noise: UnitNoise, layer: _DropoutNd, _: Any, x: Tensor) -> Tensor:
    """What a sleeping layer hands on, with a share of p of each unit's elements, or of its
    channels, set to zero, and the rest raised by 1 / (1 - p)."""
    if len(x) != len(noise.seeds):
        raise UsageError(
            f"a dropout layer sees {len(x)} rows for {len(noise.seeds)} images; it can be kept on"
            " while scoring only where its input has one row per image"
        )
    shape = x.shape[1:2] if isinstance(layer, CHANNELWISE) else x.shape[1:]
    kept = noise.take(shape.numel()) >= layer.p
    kept = kept.view(len(x), *shape, *[1] * (x.ndim - 1 - len(shape)))
    return torch.where(kept, x / (1 - layer.p), 0)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right, which torch does not have for int64."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
