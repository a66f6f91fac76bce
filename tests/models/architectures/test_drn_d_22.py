"""DRN-D-22 against its published size, and against a forward written from the authors' names."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayal.data.card import ImageSpec
from rayal.models.architectures.drn_d_22 import DrnD22
from rayal.models.build import build
from rayal.models.network import DenseNetwork
from rayal.models.trained_model import TrainedModel
from tests.support.doubles import card_of

IMAGE = ImageSpec(channels=3, height=64, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)

PLAIN = {0: (3, 16, 1, 1), 1: (16, 16, 1, 1), 2: (16, 32, 2, 1)}
PLAIN |= {7: (512, 512, 1, 2), 8: (512, 512, 1, 1)}
RESIDUAL = {3: (32, 64, 2, 1), 4: (64, 128, 2, 1), 5: (128, 256, 1, 2), 6: (256, 512, 1, 4)}
"""Level -> inputs, outputs, stride, dilation: table 1 of the paper, without what is degridding in
type C a residual block."""


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the authors' ImageNet file, whose last layer is a convolution."""
    found: dict[str, tuple[int, ...]] = {"fc.weight": (classes, 512, 1, 1), "fc.bias": (classes,)}

    def add(convolution: str, norm: str, *shape: int) -> None:
        found[f"{convolution}.weight"] = shape
        for name in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{name}"] = shape[:1]

    for level, (inputs, outputs, _, _) in PLAIN.items():
        size = 3 if level else 7
        add(f"layer{level}.0", f"layer{level}.1", outputs, inputs, size, size)
    for level, (inputs, outputs, _, _) in RESIDUAL.items():
        for block, width in ((f"layer{level}.0", inputs), (f"layer{level}.1", outputs)):
            add(f"{block}.conv1", f"{block}.bn1", outputs, width, 3, 3)
            add(f"{block}.conv2", f"{block}.bn2", outputs, outputs, 3, 3)
        shortcut = f"layer{level}.0.downsample"
        add(f"{shortcut}.0", f"{shortcut}.1", outputs, inputs, 1, 1)
    return found


def authors_weights(classes: int) -> dict[str, Tensor]:
    """Random ones, at a scale at which signals survive 22 layers."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes(classes).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 4:
            weights[name] = noise * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif name.endswith("running_var") or name.endswith("weight"):
            weights[name] = 1 + 0.1 * noise.abs()
        else:
            weights[name] = 0.1 * noise
    return weights


def forward(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits at stride 8, one function call after the other."""

    def convolved(x: Tensor, convolution: str, norm: str, stride: int, dilation: int) -> Tensor:
        weight = weights[f"{convolution}.weight"]
        reach = dilation * (weight.shape[-1] // 2)
        x = F.conv2d(x, weight, None, stride, reach, dilation)
        mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        return F.batch_norm(x, mean, variance, weights[f"{norm}.weight"], weights[f"{norm}.bias"])

    for level in range(9):
        name = f"layer{level}"
        if level in PLAIN:
            x = convolved(x, f"{name}.0", f"{name}.1", *PLAIN[level][2:]).relu()
            continue
        stride, dilation = RESIDUAL[level][2:]
        for block, step in ((f"{name}.0", stride), (f"{name}.1", 1)):
            y = convolved(x, f"{block}.conv1", f"{block}.bn1", step, dilation).relu()
            y = convolved(y, f"{block}.conv2", f"{block}.bn2", 1, dilation)
            if block.endswith("0"):
                x = convolved(x, f"{block}.downsample.0", f"{block}.downsample.1", step, 1)
            x = (x + y).relu()
    return F.conv2d(x, weights["fc.weight"], weights["fc.bias"])


def images() -> Tensor:
    return torch.randn(2, 3, 72, 80, generator=torch.Generator().manual_seed(1))


def on_meta(classes: int) -> DenseNetwork:
    with torch.device("meta"):
        network = DrnD22().network(classes, IMAGE)
    assert isinstance(network, DenseNetwork)
    return network


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_size_is_the_published_one() -> None:
    """Results on Cityscapes would be of another network."""
    levels = {
        **{0: 49 * 3 * 16 + 32, 1: 9 * 16 * 16 + 32, 2: 9 * 16 * 32 + 64},
        **{3: 131_712, 4: 525_568, 5: 2_099_712, 6: 8_393_728},
        **{level: 9 * 512 * 512 + 1024 for level in (7, 8)},
    }
    network = on_meta(1000)

    assert 16_393_752 == parameters(network) == sum(levels.values()) + 513 * 1000
    assert [levels[level] for level in (3, 4, 5, 6)] + [levels[7] + levels[8]] == [
        parameters(block) for block in network.blocks
    ]
    assert 15_890_499 == parameters(on_meta(19))


@pytest.mark.parametrize("size", [(688, 688), (1024, 2048), (896, 896), (1052, 1914)])
def test_output_stride_is_8(size: tuple[int, int]) -> None:
    """Logits would be for other places than where the task puts them."""
    outputs = on_meta(19).eval()(torch.empty(1, 3, *size, device="meta"))
    strides = [2 ** (number + 2) for number in range(2)] + [8, 8, 8]

    assert [(-(-size[0] // s), -(-size[1] // s)) for s in strides] == [
        tuple(layer.shape[2:]) for layer in outputs.layers
    ]
    assert (1, 19, -(-size[0] // 8), -(-size[1] // 8)) == outputs.logits.shape


def test_the_authors_file_gives_the_authors_logits(tmp_path: Path) -> None:
    """ImageNet weights would land in the wrong layers, or strides and dilations be others."""
    weights = authors_weights(7)
    torch.save(weights, tmp_path / "drn_d_22.pth")
    network = build(DrnD22(pretrained=str(tmp_path / "drn_d_22.pth")), 7, IMAGE, seed=0).eval()
    with torch.no_grad():
        expected, actual = forward(weights, images()), network(images()).logits

    assert 0.1 < expected.std()
    assert torch.allclose(expected, actual, rtol=1e-4, atol=1e-4)


def test_the_authors_segmentation_file_fits() -> None:
    """A network trained on Cityscapes by the authors could not score a pool."""
    weights = authors_weights(19)
    theirs = {
        f"seg{name.removeprefix('fc')}" if name.startswith("fc") else f"base.{name[5:]}": weight
        for name, weight in weights.items()
    }
    theirs["up.weight"] = torch.ones(19, 1, 16, 16)
    card = card_of(DrnD22(), 19, IMAGE)
    network = TrainedModel.adopted(card, theirs, "drn_d_22_cityscapes.pth").network().eval()
    with torch.no_grad():
        expected, actual = forward(weights, images()), network(images()).logits

    assert torch.allclose(expected, actual, rtol=1e-4, atol=1e-4)


def test_imagenets_classes_are_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Training on Cityscapes could not start from ImageNet."""
    weights = authors_weights(1000)
    torch.save(weights, tmp_path / "drn_d_22.pth")
    with caplog.at_level(logging.WARNING):
        network: Any = build(DrnD22(pretrained=str(tmp_path / "drn_d_22.pth")), 19, IMAGE, seed=0)

    assert torch.equal(weights["layer8.0.weight"], network.blocks[4][1][0].weight)
    assert (19, 512, 1, 1) == network.classifier.weight.shape
    assert "1000 classes, this network for 19: its last layer stays random" in caplog.text


def test_the_last_layer_starts_as_the_authors() -> None:
    """Training would start from other logits than in the reference."""
    last: Any = build(DrnD22(), 19, IMAGE, seed=0).classifier

    assert (2 / 19) ** 0.5 == pytest.approx(last.weight.std().item(), rel=0.03)
    assert 0 == last.bias.abs().max()


def test_interpolation_is_the_authors_transposed_convolution_but_for_the_border() -> None:
    """The docstring would hide a shift of the predictions by some pixels."""
    logits = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    line = 1 - (torch.arange(16) / 8 - 15 / 16).abs()
    theirs = F.conv_transpose2d(logits, torch.outer(line, line)[None, None], stride=8, padding=4)
    ours = F.interpolate(logits, (40, 48), mode="bilinear", align_corners=False)

    assert theirs.shape == ours.shape
    assert torch.allclose(theirs[..., 4:-4, 4:-4], ours[..., 4:-4, 4:-4], atol=1e-6)
    assert (theirs[..., 0, 4:-4].abs() < ours[..., 0, 4:-4].abs()).all()
