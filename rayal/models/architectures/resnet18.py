"""ResNet-18 (He et al. 2016), for CIFAR-sized images and for larger ones."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn
from torchvision.models.resnet import BasicBlock

from rayal.data.card import ImageSpec
from rayal.models.architectures._resnet import TRUNK
from rayal.models.base import Model
from rayal.models.network import Network, global_pool, is_small


class Resnet18(Model):
    """Four stages of two basic blocks; `layers` are the outputs of the stages.

    11,173,962 parameters with the CIFAR stem, 3 channels and 10 classes, as in the active-learning
    literature; 11,689,512 with the ImageNet stem and 1,000 classes, as in torchvision, whose files
    fit `pretrained`.

    With `projection`, the network of DAST-AL (ECCV 2022): 11,436,106 parameters with the CIFAR stem
    and 10 classes. The paper does not mention it; the count in the released timing log leaves room
    for 512 x 512 weights and nothing else. Before the pooling or after it is the same function.
    """

    torchvision_prefixes: ClassVar[Mapping[str, str]] = {**TRUNK, "fc.": "classifier."}

    stem: Literal["auto", "cifar", "imagenet"] = "auto"
    """The first layers. cifar: 3x3 convolution at full resolution; imagenet: 7x7 and max-pool, a
    quarter of it; auto: cifar for images of at most 64 px."""

    width: int = Field(default=64, ge=1)
    """Channels of the first stage; each further stage doubles them."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a pooled feature before the last linear layer (for MC-dropout)."""

    enlarge: int = Field(default=1, ge=1, le=32)
    """How many times as large images are made, bilinear, before the first layer: 7 gives ImageNet's
    weights 224 px to see of CIFAR's 32; `stem: auto` goes by the enlarged size."""

    projection: bool = False
    """One more 1x1 convolution, as many channels out as in, between the last stage and the pooling,
    without bias, batch norm or ReLU; torchvision's files have none."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        channels = [self.width, 2 * self.width, 4 * self.width, 8 * self.width]
        sides = {"height": image.height * self.enlarge, "width": image.width * self.enlarge}
        small = is_small(image.model_copy(update=sides))
        cifar = self.stem == "cifar" or (self.stem == "auto" and small)
        stem = (_cifar_stem if cifar else _imagenet_stem)(image.channels, self.width)
        return Network(
            stem=stem if self.enlarge == 1 else _enlarged(stem, self.enlarge),
            blocks=[
                _stage(self.width, channels[0], stride=1),
                *(_stage(channels[i - 1], channels[i], stride=2) for i in (1, 2, 3)),
            ],
            layer_channels=channels,
            head=_projected(channels[-1]) if self.projection else global_pool(),
            classifier=nn.Linear(channels[-1], num_classes),
            dropout=self.dropout,
        )


def _cifar_stem(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _imagenet_stem(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def _enlarged(stem: nn.Sequential, factor: int) -> nn.Module:
    """The stem with its layers' own names, behind one that has no weights."""
    larger = nn.Upsample(scale_factor=factor, mode="bilinear")
    return nn.Sequential(OrderedDict([("larger", larger), *stem.named_children()]))


def _projected(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, kernel_size=1, bias=False), global_pool())


def _stage(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Two basic blocks; a 1x1 convolution on the shortcut where the shape changes."""
    shortcut = None
    if stride != 1:
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
            nn.BatchNorm2d(outputs),
        )
    return nn.Sequential(
        BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs)
    )
