"""Any classifier that returns logits as a network that returns `rayal.Outputs`.

N images, C classes, D features.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from rayal.errors import UsageError, quoted
from rayal.models.base import Outputs
from rayal.models.module import check_sized
from rayal.models.trial import Call, Trial
from rayal.models.wrapped import Wrapped

AFTER: Mapping[str, Callable[[Tensor], Tensor]] = {
    "log_softmax": lambda logits: logits.log_softmax(dim=-1),
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": lambda logits: logits.sigmoid(),
}
"""What people let their last layer be followed by."""


def wrap(module: nn.Module, layer: str | None = None, *, images: Tensor | None = None) -> nn.Module:
    """A network of rayal around `module`, a classifier whose forward returns logits, N C.

    `Outputs.features` (N D) are what its last linear layer reads, `Outputs.layers` the outputs at
    its four lowest resolutions, () where these are not clear, and `classifier` is that layer.
    The weights are the module's own, shared, and called as there after `net.`; nothing else of the
    module changes. A network of rayal is given back as it is.

    The layer is found by a forward in eval mode: it is the one whose output is what the module
    returns. `layer`, such as "head.fc", names it where something that is no softmax follows it.
    `images`, N C H W or N D, are what the forward sees; without them, noise of the usual sizes is
    tried.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.Linear(5, 3))
    >>> outputs = rayal.wrap(net)(torch.zeros(2, 3, 2, 2))
    >>> outputs.logits.shape, outputs.features.shape
    (torch.Size([2, 3]), torch.Size([2, 5]))

    Raises UsageError where it has no such layer, for one that a softmax follows, and for lazy
    layers, which have no size yet.
    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"{quoted(module)} is no torch.nn.Module; give one that returns logits")
    check_sized(module)
    if is_network(module):
        return module
    if layer is not None:
        _named(module, layer)
    trial = Trial.of_noise(module) if images is None else Trial.on(module, images)
    return Wrapped(module, _last(module, trial, layer), trial.stages)


def is_network(module: nn.Module) -> bool:
    """Whether it has what rayal's own networks have beside their forward."""
    layers = getattr(module, "layer_channels", None)
    return isinstance(getattr(module, "classifier", None), nn.Module) and layers is not None


def _named(module: nn.Module, layer: str) -> None:
    """Raises UsageError unless a linear layer is at this path."""
    linear = [path for path, each in module.named_modules() if isinstance(each, nn.Linear)]
    if layer not in linear:
        raise UsageError(
            f"layer {layer!r} is no linear layer of {type(module).__name__}; choose one of:"
            f" {', '.join(linear) or 'none'}"
        )


def _last(module: nn.Module, trial: Trial, layer: str | None) -> str:
    """The path of the layer that gives the logits."""
    name, returned = type(module).__name__, trial.returned
    if isinstance(returned, Outputs):
        raise UsageError(
            f"{name} returns Outputs itself, but lacks `classifier` or `layer_channels`"
        )
    if not isinstance(returned, Tensor) or returned.ndim != 2:
        kind = tuple(returned.shape) if isinstance(returned, Tensor) else type(returned).__name__
        raise UsageError(f"{name} returns {kind}; make it return the logits alone, N C")
    calls = [each for each in trial.calls if layer in (None, each.path)]
    same = [each for each in calls if _equal(each.output, returned)]
    return (same[-1] if same else _followed(name, returned, calls, layer)).path


def _followed(name: str, returned: Tensor, calls: list[Call], layer: str | None) -> Call:
    """The call of the named layer, whose output becomes the logits; UsageError for a layer that is
    not named, and for what makes the logits none."""
    for path, output in reversed(calls):
        for after, applied in AFTER.items():
            if _close(applied(output), returned):
                raise UsageError(
                    f"{name}: its last layer {path!r} is followed by {after}; return what the layer"
                    " gives, the logits, and train with nn.CrossEntropyLoss"
                )
    if not calls:
        raise UsageError(
            f"{name} computes its logits by no linear layer; write a last nn.Linear, or return"
            " rayal.Outputs(logits, features, layers) from a network of your own"
        )
    if layer is None:
        raise UsageError(
            f"{name}: its logits are not what a linear layer gives, the last one is"
            f" {calls[-1].path!r}; name the layer whose input are the features:"
            f" rayal.wrap(module, layer={calls[-1].path!r})"
        )
    if calls[-1].output.shape != returned.shape:
        raise UsageError(
            f"{name}: layer {layer!r} gives {tuple(calls[-1].output.shape)}, the logits are"
            f" {tuple(returned.shape)}; name the last layer"
        )
    return calls[-1]


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(
        torch.equal(one.nan_to_num(), other.to(one.dtype).nan_to_num())
    )


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one, other.to(one.dtype), rtol=1e-4, atol=1e-5
    )
