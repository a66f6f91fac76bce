"""A moving average of the model's weights, which takes the model's place when its training ends.

Source: Polyak & Juditsky 1992; as `tf.train.ExponentialMovingAverage`, with which semi-supervised
trainings are evaluated. Weights that still jump about a minimum are nearer to it in their mean.

The last weights are not lost: they change places with the average, so that this companion's file
holds them, and a warm start continues from them.
"""

import copy
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from rayal.models.companions.base import Companion, CompanionSpec


class Average(Companion):
    """In training `network` is w~ <- a w~ + (1 - a) w after every update of the model's weights w,
    running statistics of batch norm included; after it, the model as its last step left it.

    Every training averages its own steps: the average begins at its first weights.
    """

    def __init__(self, network: nn.Module, spec: "AverageSpec") -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.spec = spec
        self.updates = 0
        """Of this training."""

    def begin(self, model: nn.Module) -> None:
        """Gives the model the last training's last weights, where a warm start goes on from it."""
        model.load_state_dict(self.network.state_dict())
        self.updates = 0

    def after_step(self, model: nn.Module) -> None:
        self.updates += 1
        follow(self.network, model, share(self.updates, self.spec.alpha, ramp=self.spec.ramp))

    @torch.no_grad()
    def end(self, model: nn.Module) -> None:
        """Exchanges the two."""
        last = copy.deepcopy(model.state_dict())
        model.load_state_dict(self.network.state_dict())
        self.network.load_state_dict(last)

    def get_extra_state(self) -> Tensor:
        """`updates`, which the checkpoints keep; a tensor, as they want."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        self.updates = int(state)


class AverageSpec(CompanionSpec):
    """An exponential moving average, evaluated and scored with in place of the last weights."""

    name: ClassVar[str] = "average"
    changes_training: ClassVar[bool] = True

    alpha: float = Field(default=0.999, ge=0, lt=1)
    """Share of itself that the average keeps at each update: it is of about the last 1 / (1 -
    alpha) of them, and a training has to be a good deal longer."""
    ramp: bool = True
    """Whether that share grows, min(1 - 1 / (t + 1), alpha) at the t-th update, so that a short
    training has the mean of all its weights; else its average stays near the first ones."""

    def build(self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]) -> Average:
        return Average(copy.deepcopy(model), self)


def share(updates: int, alpha: float, *, ramp: bool) -> float:
    """What an average keeps of itself at the update of this number, from 1."""
    return min(1 - 1 / (updates + 1), alpha) if ramp else alpha


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, kept: float, *, statistics: bool = True) -> None:
    """Moves the weights of `average` to those of `model`, of which they take 1 - `kept`; and its
    running `statistics`.

    Counters of batches stay as they are: evaluation does not read them.
    """
    # not a w~ + (1 - a) w: in float32 the two factors do not add up to 1, and the average of a
    # model that stands still would drift away from it, at a = 0.999 by up to 1e-5 of a weight
    torch._foreach_lerp_(_moving(average, statistics), _moving(model, statistics), 1 - kept)


def _moving(network: nn.Module, statistics: bool) -> list[Tensor]:
    buffers = network.buffers() if statistics else ()
    return [*network.parameters(), *(b for b in buffers if b.is_floating_point())]
