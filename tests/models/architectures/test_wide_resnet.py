"""Wide residual networks: sizes, and the residual sum by hand."""

import pytest
import torch
from torch import nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.wide_resnet import WideResnet
from rayal.models.build import build

CIFAR = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.parametrize(
    ("depth", "widen", "expected"),
    # Source: Zagoruyko and Komodakis 2016, table 4, in millions; the first from MixMatch's code.
    [(28, 2, 1.47e6), (40, 4, 8.9e6), (16, 8, 11.0e6), (28, 10, 36.5e6)],
)
def test_sizes_are_those_of_the_papers(depth: int, widen: int, expected: float) -> None:
    """Results would not be comparable with those of the published architecture."""
    with torch.device("meta"):
        network = WideResnet(depth=depth, widen=widen).network(10, CIFAR)
    parameters = sum(parameter.numel() for parameter in network.parameters())

    assert expected == pytest.approx(parameters, rel=0.01)


def test_stages_halve_the_image() -> None:
    """Features would come from another resolution than in the paper."""
    network = build(WideResnet(), 10, CIFAR, seed=0)
    layers = network(torch.zeros(2, 3, 32, 32)).layers

    assert (32, 64, 128) == network.layer_channels
    assert [32, 16, 8] == [layer.shape[-1] for layer in layers]


def test_a_block_without_weights_is_the_identity() -> None:
    """The shortcut would carry something else than the input."""
    network = build(WideResnet(depth=16, widen=1), 10, CIFAR, seed=0)
    block = network.get_submodule("blocks.2.1")
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    x = torch.randn(2, 64, 4, 4)

    assert torch.equal(x, block(x))


@pytest.mark.parametrize("depth", [4, 9, 27, 30])
def test_impossible_depths_are_refused(depth: int) -> None:
    """The network would have another depth than its name says."""
    with pytest.raises(UsageError, match=rf"6n \+ 4 .* got {depth}"):
        WideResnet(depth=depth)
    assert [10, 16, 22, 28] == [WideResnet(depth=named).depth for named in (10, 16, 22, 28)]
