"""DeepLab v3 against torchvision's, whose network it is."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50
from torchvision.models.segmentation import (
    DeepLabV3_ResNet50_Weights,
    DeepLabV3_ResNet101_Weights,
    deeplabv3_resnet50,
)

from rayal.data.card import ImageSpec
from rayal.models.architectures.deeplab_v3 import DeeplabV3
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from tests.support.doubles import card_of

IMAGE = ImageSpec(channels=3, height=64, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)
AUXILIARY = 9 * 1024 * 256 + 2 * 256 + 257 * 21
"""Weights of torchvision's auxiliary classifier."""


def images() -> Tensor:
    return torch.randn(2, 3, 64, 72, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def theirs() -> Any:
    """torchvision's network with the auxiliary classifier that its files have."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=7, aux_loss=True
        )
    return network.eval()


@pytest.mark.parametrize(
    "backbone, expected",
    [
        ("resnet50", DeepLabV3_ResNet50_Weights.DEFAULT.meta["num_params"]),
        ("resnet101", DeepLabV3_ResNet101_Weights.DEFAULT.meta["num_params"]),
    ],
)
def test_size_is_torchvisions_without_the_auxiliary(backbone: Any, expected: int) -> None:
    """Results would be of another network than torchvision's."""
    with torch.device("meta"):
        network = DeeplabV3(backbone=backbone).network(21, IMAGE)

    assert expected - AUXILIARY == sum(p.numel() for p in network.parameters())
    assert expected - AUXILIARY == {"resnet50": 39_638_869, "resnet101": 58_630_997}[backbone]


def test_torchvisions_file_gives_torchvisions_map(theirs: Any) -> None:
    """A stranger's checkpoint would be refused, or give other predictions."""
    card = card_of(DeeplabV3(), 7, IMAGE)
    ours = TrainedModel.adopted(card, theirs.state_dict(), "coco.pth").network().eval()
    with torch.no_grad():
        expected = theirs(images())["out"]
        logits = ours(images()).logits

    assert (2, 7, 8, 9) == logits.shape
    assert torch.equal(expected, F.interpolate(logits, (64, 72), mode="bilinear"))


def test_other_classes_keep_a_random_last_layer(
    theirs: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fine-tuning torchvision's COCO weights on other classes would be refused."""
    torch.save(theirs.state_dict(), tmp_path / "coco.pth")
    model = DeeplabV3(pretrained=str(tmp_path / "coco.pth"))
    with caplog.at_level(logging.WARNING):
        ours: Any = build(model, 5, IMAGE, seed=0)
    (tmp_path / "coco.pth").unlink()

    assert torch.equal(theirs.classifier[1].weight, ours.blocks[4][1].weight)
    assert torch.equal(theirs.backbone.layer4[0].conv1.weight, ours.blocks[3][0].conv1.weight)
    assert "7 classes, this network for 5: its last layer stays random" in caplog.text


def test_a_resnet_is_a_pretrained_trunk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Training could not start from ImageNet's weights."""
    trunk = resnet50()
    torch.save(trunk.state_dict(), tmp_path / "resnet50.pth")
    with caplog.at_level(logging.WARNING):
        ours: Any = build(DeeplabV3(pretrained=str(tmp_path / "resnet50.pth")), 5, IMAGE, seed=0)
    (tmp_path / "resnet50.pth").unlink()
    state = ours.blocks[3].state_dict()

    assert torch.equal(trunk.conv1.weight, ours.stem[0].weight)
    assert all(torch.equal(w, state[name]) for name, w in trunk.layer4.state_dict().items())
    assert "has no head: " in caplog.text and ", from blocks.4.0.convs.0.0.weight on" in caplog.text


def test_dropout_is_the_pyramids() -> None:
    """MC-dropout would have nothing to draw, or another rate than the one asked for."""
    for rate in (0.5, 0.1):
        with torch.device("meta"):
            network = DeeplabV3(dropout=rate).network(5, IMAGE)
        rates = [m.p for m in network.modules() if isinstance(m, nn.Dropout) and m.p]

        assert [rate] == rates
    assert 0.5 == DeeplabV3().dropout
