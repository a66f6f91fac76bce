"""Whether a network is what `rayal.models.base.Model` promises, asked with two grey images.

rayal's own architectures have tests; a user's own is asked before anything is trained. One that
returns logits, as torch's and torchvision's do, becomes what is promised.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import Model, Outputs
from rayal.models.module import check_sized, evaluating
from rayal.models.wrap import wrap

ASKED = 2
"""Images of the forward pass."""


def checked_network(network: Any, model: Model, num_classes: int, image: ImageSpec) -> nn.Module:
    """The network, wrapped where its forward returns logits alone; draws no numbers and leaves its
    state as it is.

    Raises UsageError with the first promise that it breaks. Whatever the forward pass itself raises
    goes on.
    """
    try:
        return _checked(network, num_classes, image, "segmentation" in model.tasks)
    except UsageError as error:
        raise UsageError(f"model {model.part_name()!r}: {error}") from error


def _checked(network: object, num_classes: int, image: ImageSpec, dense: bool) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise UsageError(f"network() returned {type(network).__name__}; return a torch.nn.Module")
    check_sized(network)
    found, checked = _forward(network, image), network
    if isinstance(found, Tensor) and not dense:
        generator = torch.Generator().manual_seed(0)
        checked = wrap(network, images=torch.randn(ASKED, *image.shape, generator=generator))
        found = _forward(checked, image)
    for problem in _broken(found, checked, num_classes, dense):
        raise UsageError(problem)
    return checked


def _broken(found: Any, network: nn.Module, num_classes: int, dense: bool) -> Iterator[str]:
    if not isinstance(found, Outputs):
        others = "" if dense else ", or the logits alone"
        yield (
            f"forward returned {_described(found)}; return rayal.models.base.Outputs(logits,"
            f" features, layers){others}"
        )
        return
    if not isinstance(getattr(network, "classifier", None), nn.Module):
        yield "its network has no `classifier`; give its last layer that name"
    if not isinstance(getattr(network, "layer_channels", None), tuple | list):
        yield (
            "its network has no `layer_channels`; set the channels of each of Outputs.layers, ()"
            " for none"
        )
    yield from _misshapen(found, network, num_classes, dense)


def _forward(network: nn.Module, image: ImageSpec) -> Any:
    with evaluating(network), torch.random.fork_rng(devices=[]), torch.no_grad():
        return network(torch.zeros(ASKED, *image.shape))


def _misshapen(found: Outputs, network: nn.Module, classes: int, dense: bool) -> Iterator[str]:
    logits, features, layers = found
    if not (isinstance(logits, Tensor) and logits.is_floating_point()):
        yield f"Outputs.logits are {_described(logits)}, not a tensor of floating-point numbers"
    elif logits.shape[:2] != (ASKED, classes) or logits.ndim != (4 if dense else 2):
        wanted = f"N C h w = {ASKED} {classes} h w" if dense else f"N C = {ASKED} {classes}"
        yield f"Outputs.logits are {_described(logits)} for {ASKED} images; make them {wanted}"
    elif not torch.isfinite(logits).all():
        yield "Outputs.logits are not finite for grey images; look at how its weights start"
    if not (isinstance(features, Tensor) and features.ndim == 2 and len(features) == ASKED):
        yield f"Outputs.features are {_described(features)} for {ASKED} images; make them N D"
    if not isinstance(layers, tuple | list):
        yield f"Outputs.layers are {_described(layers)}; give a tuple, () for none"
    channels = [
        layer.shape[1] if isinstance(layer, Tensor) and layer.ndim > 1 else 0 for layer in layers
    ]
    promised: Any = network.layer_channels
    if channels != list(promised):
        yield (
            f"Outputs.layers have {channels} channels, layer_channels says {list(promised)}; make"
            " them the same"
        )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return type(value).__name__
