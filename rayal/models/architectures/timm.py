"""Any classifier of timm, for weights that lie in a file or folder here."""

import inspect
import logging
import math
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.errors import UsageError, some
from rayal.models import weights_folder
from rayal.models.architectures._package import needed
from rayal.models.base import Model, Recipe
from rayal.models.stages import stages, stages_without_numbers
from rayal.models.wrapped import INSIDE, Wrapped
from rayal.parts import suggest
from rayal.storage.folder import Folder

POOLS = {"class": "token", "mean": "avg"}
"""What timm calls each pooling."""
OWN = ("num_classes", "in_chans", "img_size", "checkpoint_path", "cache_dir")
"""Arguments that rayal gives itself, or never; so are those that begin with `pretrained`."""

logger = logging.getLogger(__name__)


class Timm(Model):
    """The network that timm has under this name; its weights lie in a file or folder here.

    Nothing is ever downloaded, and no file is unpickled with code. `pretrained` takes a state dict
    as timm's own .safetensors or .pth, or a folder as timm writes it (`config.json` and
    `model.safetensors`). Features are what the last linear layer reads: what timm returns with
    `num_classes=0`. Networks with a fixed size, such as vision transformers, are built for the
    size of the images, and the positions in a file are resampled to it as timm does. `layers` are
    as for `torchvision`. Needs the package timm.
    """

    repeats_gray: ClassVar[bool] = True
    torchvision_prefixes: ClassVar[Mapping[str, str]] = {"": INSIDE}

    arch: str = Field(examples=["vit_small_patch14_dinov2.lvd142m"])
    """Name of the network in timm.list_models(); what comes after a dot tells for which weights it
    is, and so their normalisation and size where no `config.json` lies with them."""
    pooling: Literal["class", "mean"] | None = None
    """How tokens or maps become one vector: the class token, or the mean, of transformers that of
    the tokens of patches; null: as the architecture has it."""
    enlarge: int = Field(default=1, ge=1, le=32)
    """How many times as large images are made, bilinear, before the network: 7 gives it 224 px to
    see of CIFAR's 32."""
    args: dict[str, Any] = {}
    """Further arguments of timm.create_model, such as `drop_path_rate: 0.1`."""

    @field_validator("arch")
    @classmethod
    def _is_known(cls, arch: str) -> str:
        timm, name = _timm(), arch.split(".")[0]
        if not timm.is_model(name):
            raise ValueError(f"timm has no network {name!r}; {suggest(name, timm.list_models())}")
        if "." in arch and arch not in (tagged := timm.list_pretrained(f"{name}.*")):
            raise ValueError(f"timm knows no weights {arch!r}; choose one of: {some(tagged)}")
        return arch

    @field_validator("args")
    @classmethod
    def _are_further(cls, args: dict[str, Any]) -> dict[str, Any]:
        if own := [name for name in args if _is_own(name)]:
            raise ValueError(f"args {some(own)}: rayal gives these to timm itself; leave them out")
        return args

    def decoding(self) -> Decoding:
        """As timm's own weights of this name want it."""
        published = _decoding(self._published(), self.arch)
        return published.model_copy(update={"size": None, "resize": None, "shape": None})

    def recipe(self) -> Recipe | None:
        """As `config.json` says beside the weights, else as timm of its own of this name."""
        cfg, source = self._published(), f"timm's {self.arch}"
        if self.pretrained is not None and (own := _beside(self.pretrained)) is not None:
            cfg, source = {**cfg, **own[0]}, own[1]
        try:
            said = _Said.model_validate(cfg)
        except ValidationError as error:
            raise UsageError(f"{source}: pretrained_cfg is damaged; copy it again") from error
        return Recipe(source, said.mean, said.std, _decoding(cfg, source))

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """By timm's names, positions resampled to the network's size."""
        found = super().weights(network)
        if all(name.startswith(INSIDE) for name in found):
            return found
        net = cast(Wrapped, network).net
        module: Any = sys.modules[type(net).__module__]
        convert = getattr(module, "checkpoint_filter_fn", None)
        return found if convert is None else _converted(convert, found, net)

    def accepts(self, image: ImageSpec) -> str | None:
        if image.channels not in (1, 3):
            return f"{self.arch} takes images of 1 or 3 channels, not {image.channels}"
        return None

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        height, width = image.height * self.enlarge, image.width * self.enlarge
        options = dict(self.args)
        if self._published()["fixed_input_size"]:
            options["img_size"] = (height, width)
        if self.pooling is not None:
            options |= self._pooled()
        try:
            net = _timm().create_model(self.arch, num_classes=num_classes, **options)
            last = _classifier(net, self.arch)
            return Wrapped(net, last, _stages(net, (3, height, width)), self.enlarge, 3)
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            if isinstance(error, UsageError):
                raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise UsageError(
                f"{self.arch} cannot be built for images of {height}x{width} px: {reason}; use"
                " another size, pooling or args"
            ) from error

    def _published(self) -> dict[str, Any]:
        """What timm says of its own weights of this name."""
        cfg: dict[str, Any] = _timm().get_pretrained_cfg(self.arch).to_dict()
        return cfg

    def _pooled(self) -> dict[str, Any]:
        """Arguments for a pooling that the architecture has not by itself: weights that were made
        for another have their norm before it."""
        assert self.pooling is not None
        net, wanted = _timm().create_model(self.arch, **self.args), POOLS[self.pooling]
        if getattr(net, "global_pool", None) == wanted:
            return {}
        norm_after = "fc_norm" in inspect.signature(type(net).__init__).parameters
        return {"global_pool": wanted, **({"fc_norm": False} if norm_after else {})}


class _Said(BaseModel):
    """Of a `pretrained_cfg`, what decides how images are made."""

    model_config = ConfigDict(extra="ignore")

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int]
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    crop_mode: str | None = None
    interpolation: str = "bicubic"


def of_folder(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part that the `config.json` of timm describes, as a configuration."""
    name, cfg = config["architecture"], config.get("pretrained_cfg")
    tag = cfg.get("tag") if isinstance(cfg, Mapping) else None
    known = tag and f"{name}.{tag}" in _timm().list_pretrained(f"{name}.*")
    part = {"name": "timm", "arch": f"{name}.{tag}" if known else name}
    args = {k: v for k, v in (config.get("model_args") or {}).items() if not _is_own(k)}
    return {**part, **({"args": args} if args else {})}


def _is_own(argument: str) -> bool:
    return argument in OWN or argument.startswith("pretrained")


def _timm() -> Any:
    return needed("timm")


def _decoding(cfg: Mapping[str, Any], source: str) -> Decoding:
    """The resize and cut that timm does in its evaluations."""
    said = _Said.model_validate(cfg)
    interpolation = said.interpolation
    if interpolation not in ("bilinear", "bicubic"):
        logger.warning("%s wants images resized %s; they are, bicubic", source, interpolation)
        interpolation = "bicubic"
    how: dict[str, Any] = {"interpolation": interpolation}
    _, height, width = said.input_size
    if height != width:
        return Decoding(shape=(height, width), **how)
    resize = math.floor(height / (said.crop_pct or 0.875))
    return Decoding(
        size=height,
        resize=None if resize == height else resize,
        squash=said.crop_mode == "squash",
        **how,
    )


def _beside(location: str) -> tuple[dict[str, Any], str] | None:
    """The `pretrained_cfg` in a folder of weights or beside a file of them, and where it is."""
    place = location if weights_folder.is_folder(location) else location.rpartition("/")[0]
    config = Folder(place or "/").read_json(weights_folder.CONFIG, {})
    cfg = config.get("pretrained_cfg") if isinstance(config, dict) else None
    found = isinstance(cfg, dict) and "architecture" in config
    return ({k: v for k, v in cfg.items() if v is not None}, place) if found and cfg else None


def _converted(convert: Any, found: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """What timm's own loading makes of a file, but that it fits patches of another size too: then
    the architecture is another one."""
    try:
        made = dict(convert(dict(found), net))
    except Exception:  # it may raise anything for files of something else, which are refused later
        return found
    return {
        name: weight if "pos" in name or name not in found else _of_shape(weight, found[name])
        for name, weight in made.items()
    }


def _of_shape(weight: Tensor, original: Tensor) -> Tensor:
    return weight if weight.numel() == original.numel() else original


def _classifier(net: nn.Module, arch: str) -> str:
    """The path of the last layer."""
    last = cast(Any, net).get_classifier()
    paths: list[str] = [path for path, module in net.named_modules() if module is last]
    if not isinstance(last, nn.Linear) or len(paths) != 1:
        kind = "several classifiers" if isinstance(last, tuple) else type(last).__name__
        raise UsageError(
            f"{arch} classifies by {kind}, not by one last linear layer; choose another network"
        )
    return paths[0]


def _stages(net: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """The stages; by a forward of a black image where one without numbers cannot be."""
    try:
        return stages_without_numbers(net, shape)
    except Exception:  # tensors that the forward makes lie on another device
        net.eval()
        with torch.no_grad():
            found = stages(net, lambda: net(torch.zeros(1, *shape)))
        net.train()
        return found
