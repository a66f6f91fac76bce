"""A plain classifier as a rayal network: as it is, and what passes by in it as `Outputs`.

N images, C classes, D features, C_l channels of block l.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from rayal.errors import UsageError
from rayal.models.base import Outputs

INSIDE = "net."
"""What stands before the names of a wrapped network's weights."""

_kept: ContextVar[dict[nn.Module, Tensor] | None] = ContextVar("_kept", default=None)
"""What the forward that runs in this thread has kept so far: block outputs, and the features."""
_hooking = Lock()
"""Torch numbers hooks by a counter that threads share."""


class Wrapped(nn.Module):
    """A network whose forward returns logits, N C, with the interface of rayal's own.

    Its weights are those of `net`, by their names there after `net.`. Nothing of the wrapping stays
    on `net`: what is kept is kept during a forward of this module alone.
    """

    def __init__(
        self,
        net: nn.Module,
        last: str,
        stages: Mapping[str, int],
        enlarge: int = 1,
        channels: int = 1,
    ) -> None:
        """`last` is the path of the linear layer that gives the logits, `stages` path -> C_l of
        the modules whose outputs are `Outputs.layers`; `net` sees pictures `enlarge` times as
        large, bilinear, and those of one channel as so many equal `channels`."""
        super().__init__()
        self.enlarge, self.channels = enlarge, channels
        self.net = net
        self.training = net.training
        self._last = last
        self._stages, self.layer_channels = tuple(stages), tuple(stages.values())

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer."""
        last = self.net.get_submodule(self._last)
        assert isinstance(last, nn.Linear)
        return last

    @property
    def blocks(self) -> list[nn.Module]:
        """The modules whose outputs are `Outputs.layers`."""
        return [self.net.get_submodule(path) for path in self._stages]

    def forward(self, images: Tensor) -> Outputs:
        blocks, last = self.blocks, self.classifier
        if self.enlarge > 1:
            images = interpolate(images, scale_factor=self.enlarge, mode="bilinear")
        if images.shape[1] < self.channels:
            images = images.expand(-1, self.channels, -1, -1)
        with _keeping(blocks, last) as kept:
            logits = self.net(images)
        if not isinstance(logits, Tensor):
            raise UsageError(
                f"{type(self.net).__name__} returned {type(logits).__name__} in place of logits,"
                " perhaps with further classifiers in training; build it without them"
            )
        return Outputs(logits, kept[last], tuple(kept[block] for block in blocks))


@contextmanager
def _keeping(blocks: list[nn.Module], last: nn.Module) -> Iterator[dict[nn.Module, Tensor]]:
    """The outputs of `blocks` and the input of `last` of the forward inside, by module."""
    kept = dict[nn.Module, Tensor]()
    with _hooking:
        handles = [block.register_forward_hook(_keep_output) for block in blocks]
        handles.append(last.register_forward_pre_hook(_keep_input))
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)
        with _hooking:
            for handle in handles:
                handle.remove()


def _keep_output(block: nn.Module, _: Any, output: Tensor) -> None:
    if (kept := _kept.get()) is not None:  # None in a thread that runs the network as it is
        kept[block] = output


def _keep_input(last: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if (kept := _kept.get()) is not None:
        kept[last] = inputs[0]
