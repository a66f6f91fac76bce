"""One forward of a module on a few images, and what goes on in it.

N images, C channels, D features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rayal.blame import told
from rayal.errors import UsageError
from rayal.models.module import evaluating, first_weight
from rayal.models.stages import stages

SIDES = (64, 32, 28, 8, 16, 48, 224, 96, 128, 256, 299, 384, 512)
"""Sides (pixels) of square images that a network is tried with where nobody says what it takes."""
VOLUME_SIDES = (32, 16, 28, 40, 64)
"""The same of cubes."""
TRIED = 2
"""Images of a trial."""


class Call(NamedTuple):
    """A linear layer in a forward."""

    path: str
    output: Tensor


class Trial(NamedTuple):
    """What a forward returned and what went on in it."""

    returned: Any
    calls: list[Call]
    stages: dict[str, int]

    @classmethod
    def on(cls, module: nn.Module, images: Tensor) -> "Trial":
        """A forward in eval mode, without gradients; the module is left as it was."""
        returned: list[Any] = []
        with (
            evaluating(module),
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
            _linear(module) as calls,
        ):
            batch = images[:TRIED].to(first_weight(module))
            found = stages(module, lambda: returned.append(module(batch)))
        return cls(returned[0], calls, found)

    @classmethod
    def of_noise(cls, module: nn.Module) -> "Trial":
        """A forward of noise, of the first size that the module takes. Raises UsageError, with what
        the last forward raised, where it takes none."""
        for images in _guesses(module):
            try:
                return cls.on(module, images)
            except Exception as error:  # a network may raise anything for images of another size
                last = error
        raise UsageError(
            f"{type(module).__name__} takes no images of the usual sizes, the last forward raised"
            f" {told(last)}; give some that it takes: rayal.wrap(module, images=batch)"
        ) from last


def _guesses(module: nn.Module) -> Iterator[Tensor]:
    layers = nn.Conv2d, nn.Conv3d, nn.Linear
    first = next((m for m in module.modules() if isinstance(m, layers)), None)
    generator = torch.Generator().manual_seed(0)
    noise = partial(torch.randn, generator=generator)
    if isinstance(first, nn.Linear):
        yield noise(TRIED, first.in_features)
    if isinstance(first, nn.Conv3d):
        for side in VOLUME_SIDES:
            yield noise(TRIED, first.in_channels, side, side, side)
        return
    for side in SIDES:
        for channels in (first.in_channels,) if isinstance(first, nn.Conv2d) else (3, 1):
            yield noise(TRIED, channels, side, side)


@contextmanager
def _linear(module: nn.Module) -> Iterator[list[Call]]:
    """The calls of linear layers inside, in their order."""
    calls = list[Call]()

    def note(path: str, _: nn.Module, __: Any, output: Tensor) -> None:
        calls.append(Call(path, output.clone()))  # it may be changed in place

    layers = [(p, m) for p, m in module.named_modules() if isinstance(m, nn.Linear)]
    hooks = [m.register_forward_hook(partial(note, path)) for path, m in layers]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
