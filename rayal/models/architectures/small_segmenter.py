"""A small segmentation network, fast on a CPU."""

from typing import ClassVar

from pydantic import Field
from torch import nn

from rayal.data.card import ImageSpec
from rayal.data.tasks.base import TaskName
from rayal.models.base import Model
from rayal.models.network import DenseNetwork

BLOCKS = ((1, 2, 1), (2, 2, 1), (2, 1, 3), (4, 1, 1))
"""Of each block: its channels as a multiple of the width, stride and dilation."""


class SmallSegmenter(Model):
    """Four blocks of 3x3 convolution, batch norm and ReLU; output stride 4.

    Two strided blocks, a dilated one, and one that closes the gaps between the positions which that
    one sees: 39x39 pixels without a hole. 33,000 weights at the default width; for tests, and for
    runs on one or two cores.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})

    width: int = Field(default=16, ge=1)
    """Channels of the first block; the others have 2, 2 and 4 times as many."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a number of the last map before the classifier (for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        channels = [multiple * self.width for multiple, _, _ in BLOCKS]
        inputs = [image.channels, *channels]
        return DenseNetwork(
            blocks=[
                _block(inputs[i], channels[i], stride, dilation)
                for i, (_, stride, dilation) in enumerate(BLOCKS)
            ],
            layer_channels=channels,
            classifier=nn.Conv2d(channels[-1], num_classes, kernel_size=1),
            dropout=self.dropout,
        )

    def accepts(self, image: ImageSpec) -> str | None:
        if min(image.height, image.width) < 8:
            return f"images of {image.height}x{image.width} px are too small; it needs 8x8"
        return None


def _block(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(
            *(inputs, outputs, 3),
            stride=stride,
            padding=dilation,
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
