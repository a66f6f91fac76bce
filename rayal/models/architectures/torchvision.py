"""Any classification network of torchvision, for weights that were trained elsewhere."""

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.func import functional_call
from torchvision import models
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.transforms import InterpolationMode

from rayal.data.card import ImageSpec
from rayal.data.images import Decoding
from rayal.errors import UsageError
from rayal.models.base import Model, Outputs
from rayal.parts import suggest

REFUSED = {
    "squeezenet": "classifies by a convolution, without a last linear layer",
    "googlenet": "has further classifiers while it trains",
    "inception": "has further classifiers while it trains",
}
"""What no part of rayal could use, by the beginning of the name."""

LEVELS = 4
BICUBIC = InterpolationMode.BICUBIC

_kept: ContextVar[list[Tensor] | None] = ContextVar("_kept", default=None)
"""What the forward that runs in this thread has kept so far: block outputs, then the features."""


class Torchvision(Model):
    """The network that torchvision.models has under this name; files of its state dict fit.

    `layers` are the last outputs before the pooling at each of the four lowest resolutions, the
    stages of a ResNet; none for vision and Swin transformers, whose blocks give tokens.
    """

    torchvision_prefixes: ClassVar[Mapping[str, str]] = {"": "net."}

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
            return TorchvisionNetwork(models.get_model(self.arch, weights=None, **options), image)
        except (RuntimeError, ValueError, AssertionError) as error:
            size, reason = f"{image.height}x{image.width}", str(error).splitlines()[0]
            raise UsageError(
                f"{self.arch} cannot take images of {size} px: {reason}; use another size"
            ) from error


class TorchvisionNetwork(nn.Module):
    """A network as it is, and what passes by in it as `Outputs`."""

    def __init__(self, net: nn.Module, image: ImageSpec) -> None:
        super().__init__()
        self.net = net
        self._last = [p for p, m in net.named_modules() if isinstance(m, nn.Linear)][-1]
        stages = _stages(net, image)
        self._stages, self.layer_channels = tuple(stages), tuple(stages.values())
        for block in self.blocks:
            block.register_forward_hook(_keep_output)
        self.classifier.register_forward_pre_hook(_keep_input)

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer."""
        last = self.net.get_submodule(self._last)
        assert isinstance(last, nn.Linear)
        return last

    @property
    def blocks(self) -> list[nn.Module]:
        """The modules whose outputs are `Outputs.layers`."""
        return [self.net.get_submodule(path) for path in self._stages]

    def forward(self, images: Tensor) -> Outputs:
        kept: list[Tensor] = []
        token = _kept.set(kept)
        try:
            logits = self.net(images)
        finally:
            _kept.reset(token)
        *layers, features = kept
        return Outputs(logits, features, tuple(layers))


def _keep_output(_: nn.Module, __: Any, output: Tensor) -> None:
    if (kept := _kept.get()) is not None:
        kept.append(output)


def _keep_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
    if (kept := _kept.get()) is not None:  # None where somebody calls the classifier alone
        kept.append(inputs[0])


def _stages(net: nn.Module, image: ImageSpec) -> dict[str, int]:
    """Path -> channels of the modules that are last at the lowest resolutions, high to low.

    Found by a forward without numbers; fewer than three are no sequence, and none are given then.
    """
    seen: list[tuple[str, torch.Size]] = []

    def note(path: str, module: nn.Module, _: Any, output: Any) -> None:
        pooled = seen and not seen[-1][1]  # a mark that the trunk is over
        if isinstance(module, nn.AdaptiveAvgPool2d) or pooled:
            seen.append((path, torch.Size()))
        elif isinstance(output, Tensor) and output.ndim == 4:
            seen.append((path, output.shape))

    hooks = [m.register_forward_hook(partial(note, path)) for path, m in _trunk(net)]
    tensors = [*net.named_parameters(), *net.named_buffers()]
    nothing = torch.empty(1, image.channels, image.height, image.width, device="meta")
    functional_call(net.eval(), {n: t.to("meta") for n, t in tensors}, (nothing,))
    net.train()
    for hook in hooks:
        hook.remove()
    last = {shape[2:]: (path, shape[1]) for path, shape in seen if shape}
    clear = len(last) >= 3 and not isinstance(net, (SwinTransformer, VisionTransformer))
    return dict(list(last.values())[-LEVELS:]) if clear else {}


def _trunk(net: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules of a network, one after the other, plain sequences taken apart.

    Without norms: what follows them may work in place on their output.
    """
    for name, child in net.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList):
            yield from _trunk(child, f"{path}{name}.")
        elif not isinstance(child, (nn.BatchNorm2d, nn.LayerNorm)):
            yield f"{path}{name}", child
