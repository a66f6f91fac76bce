"""Dilated residual network DRN-D-22 (Yu, Koltun and Funkhouser, CVPR 2017)."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.tasks.base import TaskName
from rayal.models.base import Model
from rayal.models.network import DenseNetwork


def _prefixes() -> dict[str, str]:
    """Of the authors' two kinds of files: the ImageNet classifier, then the segmentation network.

    There a level is a sequence; here levels 0 to 2 are the stem, and 7 and 8 are one block.
    """
    places = [f"stem.{level}." for level in range(3)]
    places += [f"blocks.{level}." for level in range(4)]
    places += ["blocks.4.0.", "blocks.4.1."]
    levels = {f"layer{level}.": place for level, place in enumerate(places)}
    dense = {f"base.{level}.": place for level, place in enumerate(places)}
    return {**levels, "fc.": "classifier.", **dense, "seg.": "classifier."}


class DrnD22(Model):
    """Nine levels of type D: output stride 8, dilations 2, 4 and 2 where it would be more.

    Level 0 is a 7x7 convolution; 1, 2, 7 and 8 are one 3x3 convolution each, 3 to 6 two residual
    blocks each. `layers` are levels 3, 4, 5, 6 and 8. 15,890,499 parameters with 19 classes;
    16,393,752 with 1,000, as in the authors' ImageNet classifier, whose files fit `pretrained` as
    do those of their segmentation networks.

    Differences from the authors' code: logits are on the grid of stride 8, and the task brings them
    to pixels with bilinear interpolation, whose border repeats the outermost position; there, it is
    a fixed transposed convolution (16x16, stride 8, padding 4), which has zeros beyond the border
    and so pulls the logits of the outer 4 pixels towards 0. Inside, both are the same function.
    Images whose sides are no multiples of 8 are taken. There is no dropout there.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    torchvision_prefixes: ClassVar[Mapping[str, str]] = _prefixes()
    left_out: ClassVar[tuple[str, ...]] = ("up.",)

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a number of the last map before the classifier (for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        classifier = nn.Conv2d(512, num_classes, kernel_size=1)
        assert classifier.bias is not None
        nn.init.kaiming_normal_(classifier.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(classifier.bias)
        return DenseNetwork(
            stem=nn.Sequential(
                _convolution(image.channels, 16, size=7),
                _convolution(16, 16),
                _convolution(16, 32, stride=2),
            ),
            blocks=[
                _level(32, 64, stride=2),
                _level(64, 128, stride=2),
                _level(128, 256, dilation=2),
                _level(256, 512, dilation=4),
                nn.Sequential(_convolution(512, 512, dilation=2), _convolution(512, 512)),
            ],
            layer_channels=[64, 128, 256, 512, 512],
            classifier=classifier,
            dropout=self.dropout,
        )

    def accepts(self, image: ImageSpec) -> str | None:
        if min(image.height, image.width) < 32:
            return f"images of {image.height}x{image.width} px are too small; it needs 32x32"
        return None


def _convolution(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """Convolution without bias, batch norm, ReLU; as many positions out as in, over the stride."""
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _level(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    return nn.Sequential(
        _Block(inputs, outputs, stride, dilation), _Block(outputs, outputs, 1, dilation)
    )


class _Block(nn.Module):
    """The basic block of a ResNet with dilated convolutions, which torchvision's does not have.

    A 1x1 convolution on the shortcut where the shape changes. Names are those of the files.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
            if inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        change = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(change + kept)
        return result
