"""DSRF3D v2: its size, and a forward written out."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rayal.errors import UsageError
from rayal.models.architectures.dsrf3d_v2 import Dsrf3dV2
from rayal.models.build import build
from rayal.testing.model import spec


def network(size: int = 8) -> Any:
    return build(Dsrf3dV2(), 10, spec(size, size, size, channels=1), seed=0).eval()


def test_size_is_that_of_the_recipe() -> None:
    """Results would be those of another network. Source: aitom's tutorial 024, 859,690."""
    assert 859_690 == sum(parameter.numel() for parameter in network(32).parameters())


def test_a_forward_written_out() -> None:
    """Pools would come at other places, or a ReLU be missing."""
    model, x = network(), torch.randn(2, 1, 8, 8, 8)
    outputs = model(x)
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv3d)]
    for number, each in enumerate(convolutions):
        if number in (2, 4):
            x = F.max_pool3d(x, 2)
        x = F.relu(F.conv3d(x, each.weight, each.bias, padding=1))
    features = x.mean(dim=(2, 3, 4))

    assert 6 == len(convolutions)
    torch.testing.assert_close(outputs.features, features)
    torch.testing.assert_close(outputs.logits, F.linear(features, *model.classifier.parameters()))
    assert [(32, 8), (64, 4), (128, 2)] == [(x.shape[1], x.shape[4]) for x in outputs.layers]


def test_small_volumes_are_refused() -> None:
    """Nothing would be left after two pools."""
    with pytest.raises(UsageError, match="volumes of 8x8x2 are too small; it needs 4x4x4"):
        build(Dsrf3dV2(), 3, spec(8, 8, 2, channels=1), seed=0)
    assert build(Dsrf3dV2(), 3, spec(8, 8, 4, channels=1), seed=0)
