"""Any classification network of torchvision, for weights that were trained elsewhere."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.stages import stages_without_numbers
from rayal.models.wrapped import INSIDE, Wrapped
from rayal.parts import suggest

REFUSED = {
    "squeezenet": "classifies by a convolution, without a last linear layer",
    "googlenet": "has further classifiers while it trains",
    "inception": "has further classifiers while it trains",
}
"""What no part of rayal could use, by the beginning of the name."""

BICUBIC = InterpolationMode.BICUBIC


class Torchvision(Model):
    """The network that torchvision.models has under this name; files of its state dict fit.

    `layers` are the last outputs before the pooling at each of the four lowest resolutions, the
    stages of a ResNet; none for vision and Swin transformers, whose blocks give tokens.
    """

    torchvision_prefixes: ClassVar[Mapping[str, str]] = {"": INSIDE}

    arch: str = Field(examples=["resnet50"])
    """Name of the network: resnet50, efficientnet_b0, convnext_tiny, vit_b_16, ...: any name in
    torchvision.models.list_models(module=torchvision.models)."""

    @field_validator("arch")
    @classmethod
    def _can_be_used(cls, arch: str) -> str:
        known = models.list_models(module=models)
        if arch not in known:
            raise ValueError(f"torchvision has no classifier {arch!r}; {suggest(arch, known)}")
        for beginning, reason in REFUSED.items():
            if arch.startswith(beginning):
                raise ValueError(f"{arch} {reason}; choose another architecture")
        return arch

    def decoding(self) -> Decoding:
        """Bicubic where all of torchvision's weights of this name are."""
        presets = [each.transforms() for each in models.get_model_weights(self.arch)]
        modes = {preset.interpolation for preset in presets}
        return Decoding(interpolation="bicubic" if modes == {BICUBIC} else "bilinear")

    def accepts(self, image: ImageSpec) -> str | None:
        if image.channels != 3:
            return f"{self.arch} takes images of 3 channels, not {image.channels}"
        if self.arch.startswith("vit_") and image.height != image.width:
            return f"{self.arch} takes square images, not {image.height}x{image.width}"
        return None

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        options: dict[str, Any] = {"num_classes": num_classes}
        if self.arch.startswith("vit_"):
            options["image_size"] = image.height
        elif self.arch.startswith("maxvit_"):
            options["input_size"] = (image.height, image.width)
        try:
            return _wrapped(models.get_model(self.arch, weights=None, **options), image)
        except (RuntimeError, ValueError, AssertionError) as error:
            size, reason = f"{image.height}x{image.width}", str(error).splitlines()[0]
            raise UsageError(
                f"{self.arch} cannot take images of {size} px: {reason}; use another size"
            ) from error


def _wrapped(net: nn.Module, image: ImageSpec) -> Wrapped:
    found = stages_without_numbers(net, image.shape)
    *_, last = (path for path, module in net.named_modules() if isinstance(module, nn.Linear))
    return Wrapped(net, last, found)
