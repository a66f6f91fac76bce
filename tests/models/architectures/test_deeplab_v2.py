"""DeepLab v2 against torchvision's ResNet-101, and its head by hand."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet101

from rayal.data.card import ImageSpec
from rayal.models.architectures.deeplab_v2 import DeeplabV2, SummedConvolutions
from rayal.models.build import build
from rayal.models.network import DenseNetwork

IMAGE = ImageSpec(channels=3, height=64, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)


def images(n: int = 1) -> Tensor:
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def on_meta(classes: int = 21, **fields: Any) -> DenseNetwork:
    with torch.device("meta"):
        network = DeeplabV2(**fields).network(classes, IMAGE)
    assert isinstance(network, DenseNetwork)
    return network


def test_size_is_resnet_101_and_four_convolutions() -> None:
    """Results would be of another network than the published one."""
    with torch.device("meta"):
        theirs = sum(p.numel() for p in resnet101().parameters())
    trunk = theirs - (2048 * 1000 + 1000)

    assert 42_500_160 == trunk
    for head in ((6, 12, 18, 24), (6, 12)):  # the paper's, and what s4GAN's code sums
        parameters = on_meta(dilations=head).parameters()
        assert trunk + len(head) * 18_433 * 21 == sum(p.numel() for p in parameters)


def test_the_last_two_stages_are_dilated_and_not_strided() -> None:
    """A position would see another part of the image than in the paper."""
    network = on_meta().eval()
    geometry = [
        {(m.stride, m.dilation) for m in block.modules() if isinstance(m, nn.Conv2d)}
        for block in network.blocks
    ]
    layers = network(torch.empty(1, 3, 321, 513, device="meta")).layers

    assert {((1, 1), (1, 1)), ((1, 1), (2, 2))} == geometry[2]
    assert {((1, 1), (1, 1)), ((1, 1), (4, 4))} == geometry[3]
    assert [{(1, 1)}, {(1, 1)}, {(2, 2)}, {(4, 4)}] == [
        {m.dilation for n, m in block.named_modules() if n.endswith("conv2")}
        for block in network.blocks
    ]
    assert [(81, 129), (41, 65), (41, 65), (41, 65)] == [tuple(x.shape[2:]) for x in layers]


def test_the_head_is_a_sum_over_dilations() -> None:
    """One of the four fields of view would be lost, or weigh more than the others."""
    head: Any = SummedConvolutions(1, 1, (6, 12, 18, 24))
    with torch.no_grad():
        for scale, convolution in enumerate(head.convolutions, start=1):
            convolution.weight.fill_(scale)
            convolution.bias.fill_(0.5)
        x = torch.zeros(1, 1, 61, 61)
        x[0, 0, 30, 30] = 1
        seen = head(x)[0, 0] - 2

    assert 1 + 2 + 3 + 4 == seen[30, 30]
    for scale, dilation in enumerate((6, 12, 18, 24), start=1):
        assert scale == seen[30 - dilation, 30] == seen[30 + dilation, 30 - dilation]
    assert 1 + 4 * 8 == (seen != 0).sum()


def test_the_paper_s_head_is_not_named() -> None:
    """A run that rayal 0.4 began would be refused as another experiment."""
    assert "dilations" not in DeeplabV2().model_dump(mode="json")
    assert [6, 12] == DeeplabV2(dilations=(6, 12)).model_dump(mode="json")["dilations"]


def test_the_head_of_s4gan_is_its_loop() -> None:
    """Its numbers would be compared with those of a network that sees twice as far."""
    head: Any = SummedConvolutions(2, 3, (6, 12, 18, 24))
    theirs = head.convolutions[0](x := torch.randn(1, 2, 60, 60))
    for convolution in head.convolutions[1:]:
        theirs = theirs + convolution(x)
        break  # `return out`, where it stands

    ours = SummedConvolutions(2, 3, (6, 12))
    ours.convolutions = head.convolutions[:2]
    torch.testing.assert_close(ours(x), theirs, rtol=0, atol=0)


def test_the_head_starts_small() -> None:
    """A pretrained trunk would be destroyed by the first steps."""
    head: Any = SummedConvolutions(64, 21, (6, 12, 18, 24))

    for convolution in head.convolutions:
        assert 0.01 == pytest.approx(convolution.weight.std().item(), rel=0.05)
        assert not convolution.bias.any()


def test_torchvisions_resnet_is_a_pretrained_trunk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Training could not start from ImageNet, or would with weights in the wrong layers."""
    theirs = resnet101().eval()
    path = tmp_path / "resnet101.pth"
    torch.save(theirs.state_dict(), path)
    with caplog.at_level(logging.WARNING):
        ours: Any = build(DeeplabV2(pretrained=str(path)), 5, IMAGE, seed=0).eval()
    path.unlink()
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images()))))
        expected = theirs.layer2(theirs.layer1(x))
        layers = ours(images()).layers

    assert torch.equal(expected, layers[1])
    for number, stage in enumerate((theirs.layer3, theirs.layer4), start=2):
        state = ours.blocks[number].state_dict()
        assert all(torch.equal(w, state[name]) for name, w in stage.state_dict().items())
    assert "has no head: 8 weights of this network, from classifier.convolutions.0" in caplog.text


def test_frozen_batch_norm_learns_nothing_and_still_counts() -> None:
    """s4GAN's protocol: weight decay would pull scales to zero, or statistics would be ImageNet's.

    The decay and momentum of an optimizer leave parameters without gradients alone.
    """
    network = build(DeeplabV2(freeze_batch_norm_affine=True), 3, IMAGE, seed=0).train()
    norms: list[Any] = [
        module for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    ]
    before = [norm.running_mean.clone() for norm in norms]
    network(images(2)).logits.sum().backward()
    inside = {id(p) for norm in norms for p in norm.parameters()}

    assert 104 == len(norms)
    assert inside == {id(p) for p in network.parameters() if p.grad is None}
    assert not any(torch.equal(b, n.running_mean) for b, n in zip(before, norms, strict=True))
    assert all(p.requires_grad for p in on_meta().parameters())
