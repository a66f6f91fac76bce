"""DeepLab v2 (Chen et al., TPAMI 2018): a dilated ResNet-101 and four dilated classifiers."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torchvision.models import resnet101
from torchvision.models.resnet import Bottleneck

from rayal.data.card import ImageSpec
from rayal.data.tasks.base import TaskName
from rayal.models.architectures._resnet import TRUNK
from rayal.models.base import Model
from rayal.models.network import DenseNetwork

ASPP_L = (6, 12, 18, 24)


class DeeplabV2(Model):
    """ResNet-101 with output stride 8, dilations 2 and 4 in its last two stages, and ASPP-L.

    `layers` are the outputs of the four stages. 42,500,160 parameters in them, and 18,433 C for
    each dilation in the last layer. torchvision's files of resnet101 fit `pretrained`, without
    their last layer.

    The last layer sees neighbours, so there is no linear map per position: strategies and schemes
    that need one (`model.last_layer`) refuse this network.

    Differences: torchvision strides in the 3x3 convolution of a bottleneck where Caffe's ResNet,
    and with it the paper, DeepLab's COCO files and s4GAN's code, strides in the 1x1 before; and
    pooling rounds down, there up, which makes the grid one larger for some sizes (not for 321).
    No fully connected CRF, and one scale: the paper takes the maximum over three.
    s4GAN's code has four convolutions in its head and sums the first two, for its `return` stands
    inside the loop: `dilations: [6, 12]`.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    torchvision_prefixes: ClassVar[Mapping[str, str]] = TRUNK
    left_out: ClassVar[tuple[str, ...]] = ("fc.",)

    dilations: tuple[PositiveInt, ...] = Field(
        default=ASPP_L, min_length=1, exclude_if=lambda value: value == ASPP_L
    )
    """Dilations of the convolutions in the head (positions of its grid). The default is ASPP-L, the
    larger of the paper's two."""

    freeze_batch_norm_affine: bool = False
    """Scale and shift of all batch norms stay what they are, while their running statistics move:
    what s4GAN's code does, with pretrained weights."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a number of the last map before the classifier (for MC-dropout)."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        trunk = resnet101(replace_stride_with_dilation=[False, True, True])
        _dilate(trunk.layer3, 2)
        _dilate(trunk.layer4, 4)
        network = DenseNetwork(
            stem=nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool),
            blocks=[trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4],
            layer_channels=[256, 512, 1024, 2048],
            classifier=SummedConvolutions(2048, num_classes, self.dilations),
            dropout=self.dropout,
        )
        if self.freeze_batch_norm_affine:
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)
        return network

    def accepts(self, image: ImageSpec) -> str | None:
        if image.channels != 3:
            return f"deeplab_v2 takes images of 3 channels, not {image.channels}"
        if min(image.height, image.width) < 32:
            return f"images of {image.height}x{image.width} px are too small; it needs 32x32"
        return None


def _dilate(stage: nn.Sequential, dilation: int) -> None:
    """The first block too: torchvision gives it the dilation of the stage before."""
    for block in stage:
        assert isinstance(block, Bottleneck)
        block.conv2.dilation = block.conv2.padding = (dilation, dilation)


class SummedConvolutions(nn.Module):
    """The sum of 3x3 convolutions with biases, N D h w -> N C h w, one per dilation.

    They start from a normal distribution with deviation 0.01, as in the paper, and biases of 0.
    """

    def __init__(self, inputs: int, outputs: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.convolutions
        result: Tensor = first(x)
        for convolution in others:
            result = result + convolution(x)
        return result
