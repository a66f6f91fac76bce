"""VGG-16 against torchvision's."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torchvision
from torch import nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.vgg16 import Vgg16
from rayal.models.build import build


def spec(size: int) -> ImageSpec:
    return ImageSpec(channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_sizes() -> None:
    """Results would not be comparable with those of the published architecture."""
    with torch.device("meta"):
        cifar = Vgg16().network(10, spec(32))
        imagenet = Vgg16().network(1000, spec(224))
        theirs = torchvision.models.vgg16_bn()

    assert 14_728_266 == parameters(cifar)
    assert 138_365_992 == parameters(imagenet) == parameters(theirs)


def test_layers_are_the_five_stages() -> None:
    """A companion would be built for other block outputs than it is given."""
    network = build(Vgg16(), 10, spec(32), seed=0).eval()
    layers = network(torch.zeros(1, 3, 32, 32)).layers

    assert (64, 128, 256, 512, 512) == network.layer_channels
    assert [16, 8, 4, 2, 1] == [layer.shape[-1] for layer in layers]


@pytest.mark.parametrize(
    ("fields", "size", "expected"),
    [
        ({}, 32, (512, [0.0])),
        ({"dropout": 0.3}, 32, (512, [0.3])),
        ({}, 224, (4096, [0.5, 0.5])),
        ({"head": "imagenet", "dropout": 0}, 32, (4096, [0.0, 0.0])),
        ({"head": "cifar"}, 224, (512, [0.0])),
    ],
)
def test_heads(fields: dict[str, object], size: int, expected: tuple[int, list[float]]) -> None:
    """The head, and so features and MC-dropout, would not be the one asked for."""
    with torch.device("meta"):
        network = Vgg16.model_validate(fields).network(10, spec(size))
    dropouts = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]

    assert expected == (cast(Any, network).classifier.in_features, dropouts)


def test_small_images_are_refused() -> None:
    """Five max-pools would leave nothing of the image."""
    with pytest.raises(UsageError, match="'vgg16': .* 28x28 px are too small; it needs 32x32"):
        build(Vgg16(), 10, spec(28), seed=0)
    with torch.device("meta"):
        build(Vgg16(), 10, spec(32), seed=0)


def test_torchvision_weights_give_torchvision_logits(tmp_path: Path) -> None:
    """Pretrained weights would land in the wrong layers."""
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "vgg16_bn.pth"
    theirs = torchvision.models.vgg16_bn(init_weights=False).eval()
    expected = theirs(images)
    torch.save(theirs.state_dict(), path)
    del theirs  # half a gigabyte
    ours = build(Vgg16(pretrained=str(path)), 1000, spec(224), seed=0).eval()
    path.unlink()

    assert torch.equal(expected, ours(images).logits)
