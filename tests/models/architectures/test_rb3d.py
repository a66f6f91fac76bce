"""RB3D: its size, its block by hand, and how its weights start."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rayal.errors import UsageError
from rayal.models.architectures.rb3d import Rb3d
from rayal.models.build import build
from rayal.testing.model import spec


def network(size: int = 16) -> Any:
    return build(Rb3d(), 10, spec(size, size, size, channels=1), seed=0).eval()


def test_size_is_that_of_the_recipe() -> None:
    """Results would be those of another network. Source: aitom's tutorial 024, 118,474."""
    assert 118_474 == sum(parameter.numel() for parameter in network(32).parameters())


def test_a_forward_written_out() -> None:
    """The same sums in the words of the recipe: two ways, joined; eight octants, flattened."""
    model, volumes = network(), torch.randn(2, 1, 16, 16, 16)
    stem = model.stem[0]
    x = F.max_pool3d(F.relu(F.conv3d(volumes, stem.weight, stem.bias, padding=1)), 2)
    for block in model.blocks:
        narrow, spread, back = (block.deep[place] for place in (0, 2, 4))
        left = F.relu(F.conv3d(x, narrow.weight, narrow.bias))
        left = F.relu(F.conv3d(left, spread.weight, spread.bias, padding=1))
        left = F.conv3d(left, back.weight, back.bias)
        wide = block.wide[0]
        right = F.relu(F.conv3d(x, wide.weight, wide.bias, padding=1))
        x = F.relu(torch.cat([left, right], dim=1))
    features = x.view(2, 32, 2, 4, 2, 4, 2, 4).mean(dim=(3, 5, 7)).flatten(1)
    outputs = model(volumes)

    torch.testing.assert_close(outputs.features, features)
    torch.testing.assert_close(outputs.logits, F.linear(features, *model.classifier.parameters()))
    assert [(2, 32, 8, 8, 8)] * 4 == [tuple(layer.shape) for layer in outputs.layers]


def test_weights_start_as_in_the_recipe() -> None:
    """A last layer that starts ten times as large learns otherwise in the first epochs."""
    model = network()
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv3d)]

    assert 17 == len(convolutions)
    assert not any(each.bias.any() for each in convolutions)
    assert 0.01 == pytest.approx(model.classifier.weight.std().item(), rel=0.05)
    wide = model.blocks[0].wide[0].weight  # fan-out 16 x 27
    assert (2 / (16 * 27)) ** 0.5 == pytest.approx(wide.std().item(), rel=0.05)


def test_small_volumes_are_refused() -> None:
    """An octant would be empty."""
    with pytest.raises(UsageError, match="volumes of 3x8x8 are too small; it needs 4x4x4"):
        build(Rb3d(), 3, spec(3, 8, 8, channels=1), seed=0)
    assert build(Rb3d(), 3, spec(4, 8, 8, channels=1), seed=0)
