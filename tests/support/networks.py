"""A small network that tests of models share."""

import torch
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build

DIGITS = ImageSpec(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,))


def small(classes: int = 3, seed: int = 0, **fields: object) -> nn.Module:
    return build(SmallCnn.model_validate({"width": 4, **fields}), classes, DIGITS, seed)


def equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
