"""VGG-16 with batch norm (Simonyan and Zisserman 2015), for CIFAR-sized images and larger ones."""

from collections.abc import Mapping
from itertools import count
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.network import Network, global_pool, is_small

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the convolutions, by stage; a max-pool ends each stage."""


def _torchvision_prefixes() -> dict[str, str]:
    """torchvision numbers the layers through: its features.24 is blocks.3.0 here."""
    number = count()
    stages = {
        f"features.{next(number)}.": f"blocks.{stage}.{layer}."
        for stage, channels in enumerate(STAGES)
        for layer in range(3 * len(channels) + 1)  # convolution, batch norm, ReLU; the max-pool
    }
    head = {"classifier.0.": "head.2.", "classifier.3.": "head.5.", "classifier.6.": "classifier."}
    return stages | head


class Vgg16(Model):
    """Five stages of 3x3 convolutions; `layers` are the outputs of the stages, after their pools.

    14,728,266 parameters with the CIFAR head and 10 classes; 138,365,992 with the ImageNet head and
    1,000, as in torchvision, whose files of vgg16_bn fit `pretrained`.
    """

    torchvision_prefixes: ClassVar[Mapping[str, str]] = _torchvision_prefixes()

    head: Literal["auto", "cifar", "imagenet"] = "auto"
    """The last layers. cifar: one linear layer on the 512 pooled channels; imagenet: two hidden
    layers of 4,096 before it; auto: cifar for images of at most 64 px."""

    dropout: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)] = "auto"
    """Probability of dropping a feature before the last linear layer and, in the ImageNet head,
    between the hidden ones; auto: 0.5 in the ImageNet head, 0 in the CIFAR head."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        cifar = self.head == "cifar" or (self.head == "auto" and is_small(image))
        dropout = (0.0 if cifar else 0.5) if self.dropout == "auto" else self.dropout
        inputs = [image.channels, *(channels[-1] for channels in STAGES)]
        return Network(
            blocks=[_stage(*shape) for shape in zip(inputs, STAGES, strict=False)],
            layer_channels=inputs[1:],
            head=global_pool() if cifar else _imagenet_head(dropout),
            classifier=nn.Linear(512 if cifar else 4096, num_classes),
            dropout=dropout,
        )

    def accepts(self, image: ImageSpec) -> str | None:
        if min(image.height, image.width) < 32:
            return f"images of {image.height}x{image.width} px are too small; it needs 32x32"
        return None


def _stage(inputs: int, channels: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for outputs in channels:
        convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def _imagenet_head(dropout: float) -> nn.Module:
    """The last of torchvision's three dropouts is that of `Network`, after these features."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
    )
