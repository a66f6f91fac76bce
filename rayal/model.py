"""The contract of a model: a network that returns logits, pooled features and block outputs.

N images, C classes, D features, C_l channels of block l; * is nothing for classification, H W for
segmentation.
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rayal.dataset import ImageSpec
from rayal.errors import UsageError
from rayal.parts import Component, Location

logger = logging.getLogger(__name__)

LAST_LAYER = ("classifier.weight", "classifier.bias")


Placed = TypeVar("Placed", bound=nn.Module)
Precision = Literal["fp32", "bf16"]
"""`bf16` computes a forward pass in bfloat16; weights, updates and softmax stay in float32."""


class Outputs(NamedTuple):
    """What every rayal network returns from one forward."""

    logits: Tensor  # N C *
    features: Tensor  # N D: the input of the last linear layer, pooled
    layers: tuple[Tensor, ...]  # per block: N C_l H_l W_l


class Model(Component):
    """An architecture and its options; `build` makes a network of it.

    A network is an `nn.Module` that returns `Outputs`, with two attributes: `layer_channels`, the
    C_l of `Outputs.layers`, and `classifier`, its last linear layer. `Network` is such a module.
    """

    torchvision_prefixes: ClassVar[Mapping[str, str]] = {}
    """What weights are called in torchvision's file -> here, by prefix; empty if it has none."""

    pretrained: Location | None = None
    """Weights to start from: a local .safetensors file or torchvision's .pth; null: random."""

    @abstractmethod
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        """The network for images of this shape, its weights drawn from torch's global generator."""

    def accepts(self, image: ImageSpec) -> str | None:
        """None, or why this architecture cannot take such images (checked before a run)."""
        return None


class Network(nn.Module):
    """stem -> blocks -> head -> dropout -> classifier: the shape of every network in rayal/models.

    `Outputs.layers` are the outputs of `blocks`; `Outputs.features` (N D) is that of `head`.
    Convolutions start from He's normal initialisation (fan-out), all else from torch's own.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[nn.Module],
        layer_channels: Sequence[int],
        head: nn.Module,
        classifier: nn.Linear,
        stem: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.blocks = nn.ModuleList(blocks)
        self.layer_channels = tuple(layer_channels)
        self.head = head
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Outputs:
        x = self.stem(images)
        layers = []
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        features = self.head(x)
        return Outputs(self.classify(features), features, tuple(layers))

    def classify(self, features: Tensor) -> Tensor:
        """The logits of `Outputs.features`: dropout, then the last layer."""
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def global_pool() -> nn.Module:
    """The mean of each channel over all positions: N C H W -> N C."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def is_small(image: ImageSpec) -> bool:
    """Whether images are CIFAR-sized (64 px at most): what `auto` options go by."""
    return max(image.height, image.width) <= 64


def build(model: Model, num_classes: int, image: ImageSpec, seed: int) -> nn.Module:
    """A network on the CPU: random weights decided by `seed` alone, then the pretrained ones.

    Torch's global generators are left as they were. Raises UsageError for images that the
    architecture does not accept and for pretrained weights that do not fit.
    """
    if reason := model.accepts(image):
        raise UsageError(f"model {model.part_name()!r}: {reason}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        network = model.network(num_classes, image)
    if model.pretrained:
        _load_pretrained(network, Path(model.pretrained), model.torchvision_prefixes)
    return network


def restore(model: Model, num_classes: int, image: ImageSpec, data: bytes) -> nn.Module:
    """The network whose weights `save_weights` returned; a `pretrained` file is not read again."""
    network = build(model.model_copy(update={"pretrained": None}), num_classes, image, seed=0)
    load_weights(network, data)
    return network


def placed(network: Placed, device: torch.device | str, precision: Precision) -> Placed:
    """The network on its device, in the memory layout that is fast there."""
    network = network.to(device)
    if torch.device(device).type == "cuda" and precision == "bf16":
        return network.to(memory_format=torch.channels_last)  # what tensor cores want
    return network


def computing(device: torch.device, precision: Precision) -> torch.autocast:
    """The context of a forward pass: the same in training, evaluation and scoring."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def save_weights(network: nn.Module) -> bytes:
    """All parameters and buffers, as safetensors."""
    weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    return safetensors.torch.save(weights)


def load_weights(network: nn.Module, data: bytes) -> None:
    """Put what `save_weights` returned into a network of the same shape, on whatever device.

    Raises UsageError if a weight is absent, not known or of another shape; nothing is loaded then.
    """
    try:
        weights = safetensors.torch.load(data)
    except SafetensorError as error:
        raise UsageError(f"these {len(data)} bytes are no safetensors weights: {error}") from error
    _put(network, weights, "the weights")


def _load_pretrained(network: nn.Module, path: Path, prefixes: Mapping[str, str]) -> None:
    """Start from a file, which may be for other classes.

    A last linear layer that differs in the number of classes alone keeps its random weights, with
    a warning; any other difference raises UsageError.
    """
    own = network.state_dict()
    weights = {_rename(name, prefixes): value for name, value in _read_weights(path).items()}
    classes = [_num_classes(state, own) for state in (weights, own)]
    if None not in classes and classes[0] != classes[1]:
        logger.warning(
            "%s is for %s classes, this network for %s: its last layer stays random", path, *classes
        )
        weights |= {name: own[name] for name in LAST_LAYER}
    _put(network, weights, str(path))


def _num_classes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int | None:
    """C of a last layer that is D -> C with the D of `own`; None if it is not such a layer."""
    weight, bias = (state.get(name) for name in LAST_LAYER)
    if weight is None or bias is None or weight.shape[1:] != own[LAST_LAYER[0]].shape[1:]:
        return None
    return len(weight) if weight.shape[:1] == bias.shape else None


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Code in a file is never run."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".safetensors":
                return safetensors.torch.load(file.read())
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"pretrained: {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # torch's reader raises nearly anything for a damaged file
        raise UsageError(
            f"pretrained: {path} is damaged, or holds Python objects, which rayal never loads; "
            "save the network's state_dict() again, best as .safetensors"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise UsageError(f"pretrained: {path} must hold a state_dict: tensors by name, no more")
    return weights


def _put(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load all weights, or raise UsageError with the first 3 that do not fit and load none."""
    own = network.state_dict()
    misfits = [
        f"{name} ({_shape(own.get(name))} in the network, {_shape(weights.get(name))} in the file)"
        for name in [*own, *(name for name in weights if name not in own)]
        if _shape(own.get(name)) != _shape(weights.get(name))
        # Files older than torch 0.4.1, some of torchvision's among them, do not count batches.
        and not (name not in weights and name.endswith(".num_batches_tracked"))
    ]
    if misfits:
        shown = "; ".join(misfits[:3])
        raise UsageError(
            f"{source} do not fit this network in {len(misfits)} weights: {shown}; "
            "give the file's own architecture and options, or other weights"
        )
    network.load_state_dict(weights, strict=False)


def _shape(weight: Tensor | None) -> str:
    return "absent" if weight is None else "x".join(map(str, weight.shape)) or "a number"
