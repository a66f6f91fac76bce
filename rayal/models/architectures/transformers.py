"""Any vision network of transformers, for weights that lie in a folder here."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError, quoted, some
from rayal.models import weights_folder
from rayal.models.architectures._image_processor import recipe_of
from rayal.models.architectures._transformers import quiet, vision_config
from rayal.models.base import Model, Recipe
from rayal.models.wrapped import INSIDE, Wrapped

TRUNK = f"{INSIDE}trunk."
"""What stands before the names of transformers' own weights."""

Pooling = Literal["pooler", "class", "mean"]


class Transformers(Model):
    """The vision network of transformers that a folder describes: DINOv2, SigLIP, CLIP, ViT, ...

    The folder (`pretrained`) is what `save_pretrained` writes or what lies in a model's repository:
    `config.json`, `model.safetensors` (one, or in shards) and `preprocessor_config.json`. Nothing
    is ever downloaded, and no code of the folder runs. Of a network of images and text the vision
    tower is used, and a classifier in the folder is left out: the last layer is rayal's. There are
    no `layers`. Needs the package transformers.
    """

    repeats_gray: ClassVar[bool] = True
    torchvision_prefixes: ClassVar[Mapping[str, str]] = {"": TRUNK}

    config: dict[str, Any] | None = Field(default=None, examples=[{"model_type": "dinov2"}])
    """The content of `config.json`; null: read from the folder `pretrained`."""
    pooling: Pooling | None = None
    """What of the tokens are the features: `pooler`, what the network itself calls its pooled
    output; `class`, the first token of the last layer; `mean`, that of the patches' tokens or of
    the last map. null: `pooler`, or `class` where that is followed by a dense layer that files
    most often lack (ViT, DeiT)."""
    enlarge: int = Field(default=1, ge=1, le=32)
    """How many times as large images are made, bilinear, before the network: 7 gives it 224 px to
    see of CIFAR's 32."""

    def recipe(self) -> Recipe | None:
        """What the folder's image processor does; None where it has none."""
        vision_config(self._config())  # a kind that sees no images is refused here already
        return None if self.pretrained is None else recipe_of(self.pretrained)

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """By transformers' own names, and what it makes of those of older files."""
        found = super().weights(network)
        if all(name.startswith(INSIDE) for name in found):
            return found
        trunk = cast(Any, network).net.trunk
        return _loaded(trunk, found, str(self.pretrained))

    def bare(self) -> "Transformers":
        """With the folder's `config.json`, of which the network is built."""
        config = self._config() if self.pretrained is not None else self.config
        return self.model_copy(update={"pretrained": None, "config": config})

    def accepts(self, image: ImageSpec) -> str | None:
        wanted = _channels(vision_config(self._config()))
        if image.channels not in (1, wanted):
            return f"its network takes images of {wanted} channels, not {image.channels}"
        return None

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        config = vision_config(self._config())
        wanted = _channels(config)
        shape = wanted, image.height * self.enlarge, image.width * self.enlarge
        with quiet() as package:
            trunk = package.AutoModel.from_config(
                config, trust_remote_code=False, dtype=torch.float32
            )
        net = _Classifier(trunk, config, self.pooling, shape, num_classes)
        return Wrapped(net, "classifier", {}, self.enlarge, wanted)

    def _config(self) -> dict[str, Any]:
        if self.config is not None:
            return self.config
        if self.pretrained is None:
            raise UsageError(
                "model 'transformers' is described by a folder of weights; give it with"
                " model.pretrained (of `rayal features`: --checkpoint)"
            )
        config = weights_folder.described(self.pretrained)
        if config is None:
            raise UsageError(
                f"{self.pretrained} is no folder with a {weights_folder.CONFIG}; give the folder"
                " that save_pretrained wrote"
            )
        return config


class _Classifier(nn.Module):
    """A trunk, its pooling and a last layer."""

    def __init__(
        self,
        trunk: Any,
        config: Any,
        pooling: Pooling | None,
        shape: tuple[int, int, int],
        num_classes: int,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling or _usual(trunk)
        if self.pooling != "pooler" and getattr(trunk, "pooler", None) is not None:
            trunk.pooler = None  # not asked, and most often not in the file
        takes = inspect.signature(type(trunk).forward).parameters
        usual = getattr(config, "image_size", None)
        other = usual not in (shape[1], None) or shape[1] != shape[2]
        resized = other and "interpolate_pos_encoding" in takes
        self.options = {"interpolate_pos_encoding": True} if resized else {}
        self.patch = getattr(config, "patch_size", None)
        width = _tried(self, shape)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pooled(images))
        return logits

    def pooled(self, images: Tensor) -> Tensor:
        """N D."""
        found = self.trunk(pixel_values=images, return_dict=True, **self.options)
        if self.pooling == "pooler":
            return cast(Tensor, found.pooler_output).flatten(1)
        last: Tensor = found.last_hidden_state  # N T D, or of convolutions N D h w
        if last.ndim == 4:
            return last.mean(dim=(2, 3))
        if self.pooling == "class":
            return last[:, 0]
        return last[:, self._before(images, last.shape[1]) :].mean(dim=1)

    def _before(self, images: Tensor, tokens: int) -> int:
        """How many tokens come before those of patches: the class's and registers."""
        if not isinstance(self.patch, int):
            return 0
        patches = (images.shape[2] // self.patch) * (images.shape[3] // self.patch)
        return max(0, tokens - patches)  # fewer where patches are merged


def _channels(config: Any) -> int:
    return getattr(config, "num_channels", 3)


def _usual(trunk: nn.Module) -> Pooling:
    dense = hasattr(getattr(trunk, "pooler", None), "dense")
    return "class" if dense else "pooler"


def _tried(net: _Classifier, shape: tuple[int, int, int]) -> int:
    """D, by two forwards of one image of noise, which have to be the same. What they do not reach,
    such as the token of masked patches, is never trained.

    Raises UsageError for networks of something else, and for sizes that they do not take.
    """
    name, (_, height, width) = type(net.trunk).__name__, shape
    training, noise = net.training, torch.randn(1, *shape, generator=torch.Generator())
    try:
        with torch.random.fork_rng(devices=[]):
            first, second = (net.eval().pooled(noise) for _ in range(2))
    except Exception as error:  # anything, of networks for text, sound or pairs of images
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{name} gives no {net.pooling} of images of {height}x{width} px: {reason}; use another"
            " size or pooling, or another network"
        ) from error
    finally:
        net.train(training)
    if not first.is_meta and not torch.equal(first, second):
        raise UsageError(
            f"{name} draws random numbers whenever it looks at an image, as masked autoencoders do:"
            " its features differ from time to time; use another network"
        )
    reached = _reached(first)
    for parameter in net.trunk.parameters():
        parameter.requires_grad_(id(parameter) in reached)
    return first.shape[1]


def _reached(found: Tensor) -> set[int]:
    """The parameters that a result depends on, by identity."""
    seen, todo = set[Any](), [found.grad_fn]
    while todo:
        node: Any = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(before for before, _ in node.next_functions)
    return {id(node.variable) for node in seen if hasattr(node, "variable")}


def _loaded(trunk: Any, found: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """What transformers itself makes of the weights in a file.

    Raises UsageError where some of the network's are not there, or differ in their shape.
    """
    try:
        with quiet():
            made, told = type(trunk).from_pretrained(
                None,
                config=trunk.config,
                state_dict=found,
                output_loading_info=True,
                local_files_only=True,
                dtype=torch.float32,
            )
    except Exception as error:  # RuntimeError for shapes; its conversions may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{source} does not fit {type(trunk).__name__}: {quoted(reason)}; give the folder as it"
            " was saved"
        ) from error
    own = trunk.state_dict()
    missing = [name for name in told["missing_keys"] if name in own]
    if missing:
        pooler = "; set pooling: class or mean" if missing[0].startswith("pooler") else ""
        raise UsageError(
            f"{source} lacks {len(missing)} weights of {type(trunk).__name__}: {some(missing)}"
            f"{pooler or '; give the folder as it was saved'}"
        )
    return {TRUNK + name: weight for name, weight in made.state_dict().items() if name in own}
