"""DeepLab v3 (Chen et al. 2017), torchvision's: a dilated ResNet and a pyramid of dilations."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50, deeplabv3_resnet101

from rayal.data.card import ImageSpec
from rayal.data.tasks.base import TaskName
from rayal.models.architectures._resnet import TRUNK
from rayal.models.base import Model
from rayal.models.network import DenseNetwork

BUILDERS = {"resnet50": deeplabv3_resnet50, "resnet101": deeplabv3_resnet101}


class DeeplabV3(Model):
    """ResNet with output stride 8, atrous spatial pyramid pooling of 256 channels, 1x1 convolution.

    `layers` are the outputs of the four stages and of the head up to the last ReLU. 39,638,869
    parameters with 21 classes and resnet50, 58,630,997 with resnet101. torchvision's files of
    deeplabv3_resnet* fit `pretrained`, without their auxiliary classifier, and so do those of
    resnet*, without their last layer.

    The pyramid pools each image to one position, whose batch norm needs two images per worker to
    train on. Differences from torchvision: logits are on the grid of stride 8, no auxiliary
    classifier, and the head's convolutions but the last start from He's initialisation.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    torchvision_prefixes: ClassVar[Mapping[str, str]] = {
        **TRUNK,
        **{f"backbone.{theirs}": ours for theirs, ours in TRUNK.items()},
        "classifier.4.": "classifier.",
        "classifier.": "blocks.4.",
    }
    left_out: ClassVar[tuple[str, ...]] = ("aux_classifier.", "fc.")
    heads: ClassVar[tuple[str, ...]] = ("blocks.4.",)

    backbone: Literal["resnet50", "resnet101"] = "resnet50"
    """The dilated trunk below the pyramid."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Probability of dropping a number of the pyramid's output, before the head's 3x3 convolution:
    torchvision's place and value. Features change with it when it is on for MC-dropout."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        net = BUILDERS[self.backbone](
            weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
        )
        trunk, (pyramid, convolution, norm, relu, last) = net.backbone, net.classifier
        pyramid.project[3].p = self.dropout
        return DenseNetwork(
            stem=nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool),
            blocks=[
                *(trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4),
                nn.Sequential(pyramid, convolution, norm, relu),
            ],
            layer_channels=[256, 512, 1024, 2048, 256],
            classifier=last,
        )

    def accepts(self, image: ImageSpec) -> str | None:
        if image.channels != 3:
            return f"deeplab_v3 takes images of 3 channels, not {image.channels}"
        if min(image.height, image.width) < 32:
            return f"images of {image.height}x{image.width} px are too small; it needs 32x32"
        return None
