"""Weights as files: tensors by name, read without running what a file holds, and put into a module.

Only here safetensors are made and read. What a file of a network says of itself beside its weights
is in card.py.
"""

import io
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.storage.folder import Folder

WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What DataParallel, Lightning and torch.compile put before every name."""

HEADS = ("classifier", "fc", "heads", "head")
"""What the last layer's name begins with in torchvision's networks and in rayal's."""


def save_weights(module: nn.Module) -> bytes:
    """All parameters and buffers, as safetensors."""
    return encoded(state(module))


def load_weights(module: nn.Module, data: bytes) -> None:
    """Put what `save_weights` returned into a module of the same shape, on whatever device.

    Raises UsageError if a weight is absent, not known or of another shape; nothing is loaded then.
    """
    put(module, decoded(data, "the weights"), "the weights")


def state(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, as they can be saved; they go on changing with it."""
    return {name: value.detach().contiguous() for name, value in module.state_dict().items()}


def encoded(weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors by name, as safetensors; the bytes depend on nothing else."""
    return safetensors.torch.save(dict(weights), metadata)


def decoded(data: bytes, source: str) -> dict[str, Tensor]:
    """The tensors of safetensors; raises UsageError, with the `source`, where these are none."""
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise UsageError(
            f"{source}: these {len(data)} bytes are no safetensors weights: {error}"
        ) from error


def put(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load all weights, or raise UsageError with the first 3 that do not fit and load none."""
    if found := misfits(module, weights):
        raise UsageError(
            f"{source} do not fit this network in {len(found)} weights: {'; '.join(found[:3])}; "
            "give the file's own architecture and options, or other weights"
        )
    own = module.state_dict()  # with the versions of its layers, which files do not keep
    own.update(weights)
    module.load_state_dict(own)


def misfits(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """The weights whose shapes in the module and in the file differ."""
    own = module.state_dict()
    return [
        f"{name} ({_shape(own.get(name))} in the network, {_shape(weights.get(name))} in the file)"
        for name in [*own, *(name for name in weights if name not in own)]
        if _shape(own.get(name)) != _shape(weights.get(name))
        # Files older than torch 0.4.1, some of torchvision's among them, do not count batches.
        and not (name not in weights and name.endswith(".num_batches_tracked"))
    ]


def _shape(weight: Tensor | None) -> str:
    return "absent" if weight is None else "x".join(map(str, weight.shape)) or "a number"


def read_weights(location: str) -> dict[str, Tensor]:
    """As `parse`, of a file at a path or an fsspec URL; raises StorageError if it is not there."""
    parent, slash, name = location.rpartition("/")
    folder = Folder(parent or slash or ".")
    return parse(folder.read(name), location)


def parse(data: bytes, source: str) -> dict[str, Tensor]:
    """The state dict in the bytes of a .safetensors or torch.save file; `source` is for messages.

    It may be the one value of a checkpoint that is a state dict. Of WRAPPERS, what all names begin
    with is taken off. Raises UsageError for a file that is damaged, holds Python objects, or holds
    no state dict or several.
    """
    try:
        content = safetensors.torch.load(data) if data[8:9] == b"{" else _unpickled(data)
    except Exception as error:  # torch's reader raises nearly anything for a damaged file
        raise UsageError(
            f"{source} is damaged, or holds Python objects, which rayal never loads; "
            "save the network's state_dict() again, best as .safetensors"
        ) from error
    return _unwrapped(_state_dict(content, source))


def count_classes(weights: Mapping[str, Tensor], source: str) -> int:
    """The classes that the last linear layer, found by its name, is for.

    Raises UsageError where no layer has such a name.
    """
    linear = [name for name, w in weights.items() if name.endswith(".weight") and w.ndim == 2]
    for head in HEADS:
        if found := [name for name in linear if name.split(".")[0] == head]:
            return len(weights[max(found)])
    raise UsageError(
        f"{source} has no linear layer called {', '.join(HEADS[:-1])} or {HEADS[-1]}, so that the"
        " number of its classes is not known; rename the last layer's weights"
    )


def _unpickled(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _state_dict(content: Any, source: str) -> dict[str, Tensor]:
    if _is_state_dict(content):
        return dict(content)
    inner = content if isinstance(content, Mapping) else {}
    found = [name for name, value in inner.items() if _is_state_dict(value)]
    if len(found) == 1:
        return dict(inner[found[0]])
    number = f"{len(found)} state dicts" if found else "no state dict (tensors by name)"
    raise UsageError(
        f"{source} holds {number}: {_described(content)}; "
        "save the one of the network alone, best as .safetensors"
    )


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(w, Tensor) for name, w in value.items())
    )


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}"
    shown = [f"{name} ({type(value).__name__})" for name, value in content.items()]
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    return (", ".join(shown[:8]) + more) or "it is empty"


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in weights):
            return _unwrapped({name.removeprefix(prefix): w for name, w in weights.items()})
    return weights
