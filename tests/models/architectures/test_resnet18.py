"""ResNet-18 against torchvision's, and against the sizes of the literature."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torchvision

from rayal.data.card import ImageSpec
from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.build import build


def spec(size: int) -> ImageSpec:
    return ImageSpec(channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.25,) * 3)


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_cifar_size_is_that_of_the_literature() -> None:
    """Results on CIFAR would not be comparable with the published ones."""
    network = build(Resnet18(), 10, spec(32), seed=0)

    assert 11_173_962 == parameters(network)
    assert (64, 128, 256, 512) == network.layer_channels


def test_imagenet_size_is_that_of_torchvision() -> None:
    """Results on ImageNet would not be comparable with the published ones."""
    network = build(Resnet18(), 1000, spec(224), seed=0)

    assert 11_689_512 == parameters(network) == parameters(torchvision.models.resnet18())


def test_projection_size_is_that_of_dast_al() -> None:
    """Its published times and curves would be of another network: 512 x 512 weights, no bias."""
    network = build(Resnet18(projection=True), 10, spec(32), seed=0)

    assert 11_436_106 == parameters(network)


def test_projection_is_linear_in_the_pooled_stage() -> None:
    """A ReLU or batch norm, or a place before the last stage, would make other features."""
    network = build(Resnet18(projection=True, width=4), 3, spec(32), seed=0).eval()
    weight = cast(Any, network).head[0].weight[:, :, 0, 0]
    outputs = network(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    expected = outputs.layers[-1].mean(dim=(2, 3)) @ weight.T

    assert torch.allclose(expected, outputs.features, atol=1e-5)
    assert (outputs.features < 0).any()


@pytest.mark.parametrize(
    ("stem", "size", "expected"),
    [("auto", 64, 64), ("auto", 65, 17), ("cifar", 65, 65), ("imagenet", 64, 16)],
)
def test_stem_keeps_or_quarters_the_resolution(stem: str, size: int, expected: int) -> None:
    """Small images would lose their detail at once, or large ones cost sixteen times as much."""
    network = build(Resnet18.model_validate({"stem": stem, "width": 2}), 3, spec(size), seed=0)
    layers = network.eval()(torch.zeros(1, 3, size, size)).layers

    assert expected == layers[0].shape[-1]


def test_torchvision_weights_give_torchvision_logits(tmp_path: Path) -> None:
    """Pretrained weights would land in the wrong layers."""
    theirs = torchvision.models.resnet18().eval()
    path = tmp_path / "resnet18.pth"
    torch.save(theirs.state_dict(), path)
    ours = build(Resnet18(pretrained=str(path)), 1000, spec(224), seed=0).eval()
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))

    assert torch.equal(theirs(images), ours(images).logits)


@pytest.mark.parametrize("factor", [2, 7])
def test_enlarged_images_are_those_of_a_larger_set(tmp_path: Path, factor: int) -> None:
    """ImageNet's weights would see 32 px by a stem made for 224, or not fit at all; by hand: what
    the plain network says of images that were enlarged beforehand."""
    path = tmp_path / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)
    small = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(small, scale_factor=factor, mode="bilinear")
    model = Resnet18(enlarge=factor, pretrained=str(path), stem="imagenet")
    enlarged = build(model, 10, spec(16), seed=0).eval()
    plain = build(Resnet18(pretrained=str(path), stem="imagenet"), 10, spec(16), seed=0).eval()
    plain.classifier.load_state_dict(enlarged.classifier.state_dict())  # type: ignore[operator, union-attr]

    assert plain.state_dict().keys() == enlarged.state_dict().keys()
    torch.testing.assert_close(enlarged(small).logits, plain(large).logits)


@pytest.mark.parametrize(("factor", "expected"), [(1, 32), (2, 64), (7, 56)])
def test_the_stem_goes_by_the_enlarged_size(factor: int, expected: int) -> None:
    """Enlarged to 224 px, all stages would be computed at full resolution."""
    network = build(Resnet18(enlarge=factor, width=4), 2, spec(32), seed=0)

    assert expected == network(torch.zeros(1, 3, 32, 32)).layers[0].shape[-1]


def test_torchvision_weights_do_not_fit_the_cifar_stem(tmp_path: Path) -> None:
    """A 32 px model would silently keep a random stem."""
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)

    with pytest.raises(ValueError, match=r"stem\.0\.weight \(64x3x3x3 .* 64x3x7x7 in the file"):
        build(Resnet18(pretrained=str(path)), 10, spec(32), seed=0)


def test_convolutions_start_as_torchvisions() -> None:
    """Training from random weights would start at another scale than the reference."""
    ours = cast(Any, build(Resnet18(), 10, spec(224), seed=0)).blocks[3][0].conv1.weight
    theirs = torchvision.models.resnet18().layer4[0].conv1.weight

    assert theirs.std().item() == pytest.approx(ours.std().item(), rel=0.01)
