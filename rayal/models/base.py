"""The contract of a model: a network that returns logits, pooled features and block outputs.

N images, C classes, D features, C_l channels of block l; * is nothing for classification, and the
positions h w of a coarser grid, the logit grid, for segmentation.
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rayal.data.datasets.base import ImageSpec
from rayal.data.tasks.base import ForTasks
from rayal.errors import UsageError
from rayal.models import weights as foreign_weights
from rayal.parts import Location

logger = logging.getLogger(__name__)

LAST_LAYER = ("classifier.weight", "classifier.bias")
"""What the last layer of a `Network` is called."""

Placed = TypeVar("Placed", bound=nn.Module)
Precision = Literal["fp32", "bf16"]
"""`bf16` computes a forward pass in bfloat16; weights, updates and softmax stay in float32."""


class Outputs(NamedTuple):
    """What every rayal network returns from one forward."""

    logits: Tensor  # N C *
    features: Tensor  # N D: the input of the last layer, in a dense network its mean over h w
    layers: tuple[Tensor, ...]  # per block: N C_l H_l W_l


class Model(ForTasks):
    """An architecture and its options; `build` makes a network of it.

    A network is an `nn.Module` that returns `Outputs`, with two attributes: `layer_channels`, the
    C_l of `Outputs.layers`, and `classifier`, its last layer: linear in a `Network`, most often a
    1x1 convolution in a `DenseNetwork`.
    """

    kind: ClassVar[str] = "models"

    torchvision_prefixes: ClassVar[Mapping[str, str]] = {}
    """What weights are called in torchvision's file, or the authors' -> here, by prefix; empty if
    there is none."""

    left_out: ClassVar[tuple[str, ...]] = ()
    """Prefixes of what such a file has and this architecture does not: heads of another use."""

    heads: ClassVar[tuple[str, ...]] = ()
    """Prefixes, here, of what a file of the trunk alone lacks besides the last layer."""

    pretrained: Location | None = None
    """Weights to start from: anybody's .safetensors or .pth file with a state dict of this
    architecture or its trunk, by torchvision's names or rayal's; null: random."""

    @abstractmethod
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        """The network for images of this shape, its weights drawn from torch's global generator."""

    def accepts(self, image: ImageSpec) -> str | None:
        """None, or why this architecture cannot take such images (checked before a run)."""
        return None


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
        classifier: nn.Linear,
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


def start_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions in it from He's normal distribution (fan-out)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
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
        _load_pretrained(network, model.pretrained, model)
    return network


def restore(model: Model, num_classes: int, image: ImageSpec, data: bytes) -> nn.Module:
    """The network whose weights `save_weights` returned; a `pretrained` file is not read again."""
    network = build(model.model_copy(update={"pretrained": None}), num_classes, image, seed=0)
    load_weights(network, data)
    return network


def restore_exactly(
    model: Model, num_classes: int, image: ImageSpec, weights: Mapping[str, Tensor], source: str
) -> nn.Module:
    """The network with the weights of a file, `source`, by torchvision's names or rayal's.

    Every weight has to fit, the last layer's too. Raises UsageError with the first that do not and,
    where the classes are all the difference, their number in the file.
    """
    network = build(model.model_copy(update={"pretrained": None}), num_classes, image, seed=0)
    renamed = _in_own_names(network, weights, model)
    last = _last_weights(network)
    classes = _num_classes(renamed, last)
    if classes not in (None, num_classes) and not _misfits(network, renamed | last):
        raise UsageError(f"{source} is for {classes} classes, not for {num_classes}")
    _put(network, renamed, source)
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


def save_weights(network: nn.Module, metadata: dict[str, str] | None = None) -> bytes:
    """All parameters and buffers, as safetensors; `metadata` is for `read_model_card`."""
    weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    return safetensors.torch.save(weights, metadata)


def load_weights(network: nn.Module, data: bytes) -> None:
    """Put what `save_weights` returned into a network of the same shape, on whatever device.

    Raises UsageError if a weight is absent, not known or of another shape; nothing is loaded then.
    """
    try:
        weights = safetensors.torch.load(data)
    except SafetensorError as error:
        raise UsageError(f"these {len(data)} bytes are no safetensors weights: {error}") from error
    _put(network, weights, "the weights")


def _load_pretrained(network: nn.Module, location: str, model: Model) -> None:
    """Start from a file, which may be for other classes, or of the trunk alone.

    A last layer that differs in the number of classes alone, or that is absent, keeps its random
    weights, with a warning; so do absent `heads`. Any other difference raises UsageError.
    """
    weights = _in_own_names(network, foreign_weights.read(location), model)
    last = _last_weights(network)
    classes, own = _num_classes(weights, last), _num_classes(last, last)
    if classes is not None and classes != own:
        logger.warning(
            "%s is for %s classes, this network for %s: its last layer stays random",
            *(location, classes, own),
        )
        weights |= last
    absent = _absent(network, weights, [tuple(last), *model.heads])
    if absent and not _misfits(network, weights | absent):
        logger.warning(
            "%s has no head: %d weights of this network, from %s on, stay random",
            *(location, len(absent), next(iter(absent))),
        )
        weights |= absent
    _put(network, weights, location)


def _absent(
    network: nn.Module, weights: Mapping[str, Tensor], parts: Sequence[str | tuple[str, ...]]
) -> dict[str, Tensor]:
    """The network's weights of those parts, by prefix, of which there is nothing in `weights`."""
    state = network.state_dict()
    missing = tuple(part for part in parts if not any(name.startswith(part) for name in weights))
    return {n: w for n, w in state.items() if any(n.startswith(part) for part in missing)}


def _last_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of the last layer, by their names in the network."""
    last = network.classifier
    assert isinstance(last, nn.Module)
    (path,) = (name for name, module in network.named_modules() if module is last)
    return {f"{path}.{name}": value for name, value in last.state_dict().items()}


def _num_classes(weights: Mapping[str, Tensor], last: Mapping[str, Tensor]) -> int | None:
    """C of a layer among the weights that differs from `last` in C at most; None if none does."""
    theirs = {name: weights[name].shape for name in last if name in weights}
    sizes = {shape[:1] for shape in theirs.values()}
    if len(sizes) != 1 or any(theirs.get(name, [])[1:] != w.shape[1:] for name, w in last.items()):
        return None
    return sizes.pop()[0]


def _in_own_names(
    network: nn.Module, weights: Mapping[str, Tensor], model: Model
) -> dict[str, Tensor]:
    """Weights with torchvision's names or the network's own, by its own; without `left_out`."""
    own = network.state_dict().keys()
    renamed: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name in own:
            renamed[name] = weight
        elif not name.startswith(model.left_out):
            renamed[_rename(name, model.torchvision_prefixes)] = weight
    return renamed


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _put(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load all weights, or raise UsageError with the first 3 that do not fit and load none."""
    if misfits := _misfits(network, weights):
        shown = "; ".join(misfits[:3])
        raise UsageError(
            f"{source} do not fit this network in {len(misfits)} weights: {shown}; "
            "give the file's own architecture and options, or other weights"
        )
    state = network.state_dict()  # with the versions of its layers, which files do not keep
    state.update(weights)
    network.load_state_dict(state)


def _misfits(network: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """The weights whose shapes in the network and in the file differ."""
    own = network.state_dict()
    return [
        f"{name} ({_shape(own.get(name))} in the network, {_shape(weights.get(name))} in the file)"
        for name in [*own, *(name for name in weights if name not in own)]
        if _shape(own.get(name)) != _shape(weights.get(name))
        # Files older than torch 0.4.1, some of torchvision's among them, do not count batches.
        and not (name not in weights and name.endswith(".num_batches_tracked"))
    ]


def _shape(weight: Tensor | None) -> str:
    return "absent" if weight is None else "x".join(map(str, weight.shape)) or "a number"
