"""What every classifier of rayal promises, checked for each file in rayal/models/architectures."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.build import build
from rayal.parts import find, names

NARROW: dict[str, dict[str, object]] = {
    "small_cnn": {"width": 4},
    "resnet18": {"width": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
    "torchvision": {"arch": "mobilenet_v3_small"},
}
"""Options that make a model small enough for tests."""


def spec(channels: int = 3, size: int = 32) -> ImageSpec:
    mean, std = (0.5,) * channels, (0.25,) * channels
    return ImageSpec(channels=channels, height=size, width=size, mean=mean, std=std)


def part(name: str) -> Model:
    return cast(Model, find("models", name).model_validate(NARROW.get(name, {})))


def network(name: str, image: ImageSpec, classes: int = 5) -> nn.Module:
    return build(part(name), classes, image, seed=0).eval()


def images(image: ImageSpec, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, image.channels, image.height, image.width, generator=generator)


CLASSIFIERS = [n for n in names("models") if "classification" in find("models", n).tasks]

pytestmark = pytest.mark.parametrize("name", CLASSIFIERS)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_outputs_have_the_promised_shapes(name: str, channels: int) -> None:
    """Strategies and companions would read tensors that are not what they were promised."""
    image = spec(channels)
    if part(name).accepts(image):
        with pytest.raises(UsageError, match=f"3 channels, not {channels}"):
            network(name, image)
        return
    net = network(name, image)
    outputs = net(images(image))

    assert (2, 5) == outputs.logits.shape
    assert (2, cast(Any, net).classifier.in_features) == outputs.features.shape
    assert tuple(layer.shape[1] for layer in outputs.layers) == net.layer_channels
    assert all(layer.ndim == 4 and len(layer) == 2 for layer in outputs.layers)
    assert 3 <= len(outputs.layers) <= 5


def test_the_classifier_maps_features_to_logits(name: str) -> None:
    """EPMCM, BADGE and others would compute with features that do not give the logits."""
    image = spec()
    net = network(name, image)
    outputs = net(images(image))

    assert isinstance(net.classifier, nn.Linear)
    assert torch.equal(net.classifier(outputs.features), outputs.logits)


def test_batch_size_does_not_change_outputs(name: str) -> None:
    """Scores would depend on how the pool is divided."""
    image = spec()
    net, batch = network(name, image), images(image, n=3)
    together = net(batch).logits
    alone = torch.cat([net(batch[i : i + 1]).logits for i in range(3)])

    assert torch.allclose(together, alone, atol=1e-5)


def test_every_parameter_gets_a_gradient(name: str) -> None:
    """Distributed training stops at parameters that no loss reaches."""
    image = spec()
    net = network(name, image).train()
    net(images(image, n=4)).logits.sum().backward()

    assert [] == [key for key, parameter in net.named_parameters() if parameter.grad is None]


def test_block_outputs_are_not_overwritten(name: str) -> None:
    """A companion would read block outputs that a later layer changed in place."""
    image = spec()
    net = network(name, image)
    copies: list[torch.Tensor] = []
    for block in cast(Any, net).blocks:
        block.register_forward_hook(lambda _, __, output: copies.append(output.clone()))
    layers = net(images(image)).layers

    assert all(torch.equal(copy, layer) for copy, layer in zip(copies, layers, strict=True))
