"""The networks that a scoring pass asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from rayal.models.base import Outputs, Precision
from rayal.models.companions.base import Companions, Makes
from rayal.models.companions.teacher import Teacher
from rayal.models.network import computing

Reference = Literal["previous", "initial", "random"] | type[Makes[Teacher]]
"""The other model of `previous_probs`: the last cycle's; this run's own weights before its first
training; a network of random weights that was never trained; or the teacher that a spec of this
type, one of the strategy's `companions`, has put beside the model."""


@dataclass(frozen=True)
class Networks:
    """What a scoring pass predicts with, on one device, all in eval mode; opened once a worker."""

    model: nn.Module
    references: Mapping[Reference, nn.Module] = field(default_factory=dict)
    members: Sequence[nn.Module] = ()
    """The ensemble's other members."""
    companions: Companions = field(default_factory=Companions)
    seed: int = 0
    cycle: int = 0
    precision: Precision = "fp32"
    constants: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    """What strategies compute once a pass, by strategy and key, see `Signals.constant`."""


def forward(model: nn.Module, images: Tensor, precision: Precision = "fp32") -> Outputs:
    """One forward without gradients."""
    with torch.no_grad(), computing(images.device, precision):
        outputs: Outputs = model(images)
    return outputs
