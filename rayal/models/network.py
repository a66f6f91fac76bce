"""The networks that rayal's architectures are made as, and how a network runs on a device.

N images, C classes, D features; h w positions of a dense network's last map, the *logit grid*:
whoever needs logits at pixels interpolates.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.base import Outputs, Precision
from rayal.models.memory import Memory

LAST_LAYER = ("classifier.weight", "classifier.bias")
"""What the last layer of a `Network` is called."""

N = TypeVar("N", bound=nn.Module)


class Staged(nn.Module):
    """stem -> blocks -> ... -> dropout -> classifier: what every architecture is.

    `layer_channels` are those of the blocks' outputs. Parts are registered in the order of their
    use, which is that of all parameters.
    """

    dropout: nn.Dropout
    classifier: nn.Module

    def __init__(
        self, stem: nn.Module | None, blocks: Sequence[nn.Module], layer_channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.blocks = nn.ModuleList(blocks)
        self.layer_channels = tuple(layer_channels)

    def layers(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs of `blocks`."""
        x, found = self.stem(images), []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return tuple(found)

    def last(self, outputs: Outputs) -> Tensor:
        """What `classify` reads, of a forward."""
        return outputs.features

    def classify(self, last: Tensor) -> Tensor:
        """The logits: dropout, then the last layer."""
        logits: Tensor = self.classifier(self.dropout(last))
        return logits


class Network(Staged):
    """stem -> blocks -> head -> dropout -> classifier: the networks that classify whole images.

    `Outputs.layers` are the outputs of `blocks`; `Outputs.features` (N D) is that of `head`.
    Convolutions start from He's normal initialisation (fan-out), all else from torch's own.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[nn.Module],
        layer_channels: Sequence[int],
        head: nn.Module,
        classifier: nn.Linear | Memory,
        stem: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(stem, blocks, layer_channels)
        self.head = head
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        start_convolutions(self)

    def forward(self, images: Tensor) -> Outputs:
        layers = self.layers(images)
        features = self.head(layers[-1])
        return Outputs(self.classify(features), features, layers)


class DenseNetwork(Staged):
    """stem -> blocks -> dropout -> classifier, all on maps.

    `Outputs.layers` are the outputs of `blocks`; the last one, N D h w, is what `classifier` reads
    but for the dropout, and its mean over h w is `Outputs.features`. Strided layers round up: an
    output stride of 8 makes h = ceil(H / 8), for images of any size.

    Convolutions of stem and blocks start from He's normal initialisation (fan-out), as those of
    `Network`; `classifier` and all else start as they come.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[nn.Module],
        layer_channels: Sequence[int],
        classifier: nn.Module,
        stem: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(stem, blocks, layer_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        start_convolutions(self.stem)
        start_convolutions(self.blocks)

    def forward(self, images: Tensor) -> Outputs:
        layers = self.layers(images)
        maps = layers[-1]
        return Outputs(self.classify(maps), maps.mean(dim=(2, 3)), layers)

    def last(self, outputs: Outputs) -> Tensor:
        return outputs.layers[-1]


def start_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions in it from He's normal distribution (fan-out)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def last_layer(network: nn.Module) -> nn.Linear | nn.Conv2d | None:
    """The linear map, the same for every position, from the last layer's input to the logits.

    Its weight, flattened, is C D. None where `classifier` is no such map: it sees neighbours too.
    """
    last = network.classifier
    if isinstance(last, nn.Linear):
        return last
    if isinstance(last, nn.Conv2d) and last.weight.shape[1:] == (last.in_channels, 1, 1):
        return last
    return None


def feature_width(network: nn.Module) -> int:
    """D: what the last layer reads, or of dense networks the channels of what it reads."""
    last = last_layer(network)
    width: int = cast(Any, network).layer_channels[-1] if last is None else last.weight.shape[1]
    return width


def global_pool() -> nn.Module:
    """The mean of each channel over all positions: N C H W -> N C."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def is_small(image: ImageSpec) -> bool:
    """Whether images are CIFAR-sized (64 px at most): what `auto` options go by."""
    return max(image.height, image.width) <= 64


def placed(network: N, device: torch.device | str, precision: Precision) -> N:
    """The network on its device, in the memory layout that is fast there."""
    network = network.to(device)
    if torch.device(device).type == "cuda" and precision == "bf16":
        # what tensor cores want, of weights with as many axes as the format has
        volumes = any(isinstance(module, nn.Conv3d) for module in network.modules())
        last = torch.channels_last_3d if volumes else torch.channels_last
        return network.to(memory_format=last)
    return network


def computing(device: torch.device, precision: Precision) -> torch.autocast:
    """The context of a forward pass: the same in training, evaluation and scoring."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
