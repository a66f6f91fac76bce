"""A convolutional network written as for any other project."""

import torch
from pydantic import Field
from torch import Tensor, nn

from rayal import ImageSpec, Model, Outputs


class PlainCnn(Model):
    """Two blocks of 3x3 convolution and ReLU, each halving the image; one linear layer."""

    width: int = Field(default=16, ge=1)
    """Channels of the first block; the second has twice as many."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return PlainNetwork(image.channels, self.width, num_classes)

    def accepts(self, image: ImageSpec) -> str | None:
        if min(image.height, image.width) < 4:
            return f"images of {image.height}x{image.width} px are too small; it needs 4x4"
        return None


class PlainNetwork(nn.Module):
    def __init__(self, channels: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        self.second = nn.Conv2d(width, 2 * width, kernel_size=3, padding=1)
        self.classifier = nn.Linear(2 * width, num_classes)
        self.layer_channels = (width, 2 * width)  # those of Outputs.layers

    def forward(self, images: Tensor) -> Outputs:
        one = torch.max_pool2d(torch.relu(self.first(images)), 2)  # N C_1 H/2 W/2
        two = torch.max_pool2d(torch.relu(self.second(one)), 2)  # N C_2 H/4 W/4
        features = two.mean(dim=(2, 3))  # N D
        return Outputs(self.classifier(features), features, (one, two))
