"""What every segmentation network of rayal promises, for each architecture."""

from copy import deepcopy
from functools import cache
from math import ceil
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.network import DenseNetwork, last_layer
from rayal.models.trained_model import TrainedModel
from rayal.parts import find, names
from tests.support.doubles import card_of

OUTPUT_STRIDE = {"small_segmenter": 4, "drn_d_22": 8, "deeplab_v2": 8, "deeplab_v3": 8}
LINEAR = {"small_segmenter", "drn_d_22", "deeplab_v3"}
"""Those whose last layer is a linear map per position."""

DENSE = [n for n in names("models") if "segmentation" in find("models", n).tasks]

pytestmark = pytest.mark.parametrize("name", DENSE)


def spec(height: int = 40, width: int = 48, channels: int = 3) -> ImageSpec:
    mean, std = (0.5,) * channels, (0.25,) * channels
    return ImageSpec(channels=channels, height=height, width=width, mean=mean, std=std)


def part(name: str) -> Model:
    return cast(Model, find("models", name)())


@cache
def network(name: str) -> DenseNetwork:
    """With running statistics of images like those below, so that no map dies out."""
    net = cast(DenseNetwork, build(part(name), 5, spec(), seed=0))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(images(8, seed=1))
    return net.eval()


def images(n: int = 2, height: int = 40, width: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("size", [(40, 48), (41, 55)])
def test_outputs_have_the_promised_shapes(name: str, size: tuple[int, int]) -> None:
    """Strategies and companions would read tensors that are not what they were promised."""
    net = network(name)
    with torch.no_grad():
        outputs = net(images(2, *size))
    grid = tuple(ceil(side / OUTPUT_STRIDE[name]) for side in size)

    assert (2, 5, *grid) == outputs.logits.shape
    assert (2, net.layer_channels[-1], *grid) == outputs.layers[-1].shape
    assert net.layer_channels == tuple(layer.shape[1] for layer in outputs.layers)
    assert all(layer.ndim == 4 and len(layer) == 2 for layer in outputs.layers)
    assert 3 <= len(outputs.layers) <= 5


def test_the_classifier_maps_the_last_layer_to_logits(name: str) -> None:
    """EPMCM, ISDA and others would compute with maps that do not give the logits."""
    net = network(name)
    with torch.no_grad():
        outputs = net(images())
        logits = net.classifier(outputs.layers[-1])

    assert torch.equal(logits, outputs.logits)
    assert torch.allclose(outputs.layers[-1].mean(dim=(2, 3)), outputs.features, atol=1e-6)


def test_the_last_layer_is_one_matrix_for_every_position(name: str) -> None:
    """Strategies that compute with the last weights would be wrong, or refuse the network."""
    net = network(name)
    last = last_layer(net)

    assert (name in LINEAR) == (last is not None)
    if last is not None:
        assert last.bias is not None
        with torch.no_grad():
            outputs = net(images())
            expected = torch.einsum("cd,ndhw->nchw", last.weight.flatten(1), outputs.layers[-1])

        assert torch.allclose(expected + last.bias.view(-1, 1, 1), outputs.logits, atol=1e-4)


def test_batch_mates_do_not_change_outputs(name: str) -> None:
    """Scores would depend on how the pool is divided."""
    net, batch = deepcopy(network(name)).double(), images(3).double()
    with torch.no_grad():
        together = net(batch).logits
        alone = torch.cat([net(batch[i : i + 1]).logits for i in range(3)])

    assert 1e-3 < together.std()
    assert torch.allclose(together, alone, rtol=1e-9, atol=1e-9)


def test_every_parameter_gets_a_gradient(name: str) -> None:
    """Distributed training stops at parameters that no loss reaches."""
    net = network(name)
    net.zero_grad(set_to_none=True)
    net(images()).logits.sum().backward()
    missing = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    net.zero_grad(set_to_none=True)

    assert [] == missing


def test_block_outputs_are_not_overwritten(name: str) -> None:
    """A companion would read block outputs that a later layer changed in place."""
    net, copies = network(name), list[Tensor]()
    hooks = [
        block.register_forward_hook(lambda _, __, output: copies.append(output.clone()))
        for block in net.blocks
    ]
    with torch.no_grad():
        layers = net(images()).layers
    for hook in hooks:
        hook.remove()

    assert all(torch.equal(copy, layer) for copy, layer in zip(copies, layers, strict=True))


def test_seed_alone_decides_the_weights_and_they_survive_saving(name: str) -> None:
    """Strategies of one seed would start from other networks; workers would score with others."""
    first = build(part(name), 5, spec(), seed=1)
    torch.rand(1)
    again = build(part(name), 5, spec(), seed=1)

    assert equal(first, again)
    assert not equal(first, network(name))
    saved = TrainedModel.of(card_of(part(name), 5, spec()), first).data()
    assert equal(first, TrainedModel.parse(saved, "saved").network())


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_are_taken_or_refused(name: str, channels: int) -> None:
    """The first batch would end in torch's error about a convolution."""
    image = spec(channels=channels)
    with torch.device("meta"):
        if reason := part(name).accepts(image):
            assert f"3 channels, not {channels}" in reason
            return
        net: Any = part(name).network(5, image).eval()

        assert 5 == net(torch.zeros(1, channels, 40, 48)).logits.shape[1]


def test_images_that_are_too_small_are_refused(name: str) -> None:
    """The last maps would hold a position or two, with hardly anything of an image in them."""
    with pytest.raises(UsageError, match=f"'{name}': images of 7x48 px are too small; it needs"):
        build(part(name), 5, spec(height=7), seed=0)
