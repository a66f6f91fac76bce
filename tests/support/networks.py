"""A small network that tests of models share, and large ones that many checks look at."""

from typing import Any

import pytest
import torch
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build
from rayal.workflows import untrainable

DIGITS = ImageSpec(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,))


def small(classes: int = 3, seed: int = 0, **fields: object) -> nn.Module:
    return build(SmallCnn.model_validate({"width": 4, **fields}), classes, DIGITS, seed)


_LAST: dict[object, nn.Module] = {}


def built_once(model: Any, classes: int, image: ImageSpec, seed: int) -> nn.Module:
    """As `build`, of a network that is only looked at: where the call before wanted the same, that
    one. A hundred experiments on VGG-16 would draw its weights a hundred times."""
    wanted = (model.model_dump_json(), classes, image.model_dump_json(), seed)
    if wanted not in _LAST:
        _LAST.clear()
        _LAST[wanted] = build(model, classes, image, seed)
    return _LAST[wanted]


def build_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks have their shapes from now on, their weights whatever the memory holds: to draw
    those of VGG-16 takes a second. Checks of experiments build each once, and look at no weight."""
    monkeypatch.setattr(untrainable, "build", built_once)
    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, *_, **__: tensor)


def equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
