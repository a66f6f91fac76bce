"""The weights in anybody's file: tensors by name, read without running what the file holds."""

import io
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from rayal.errors import UsageError
from rayal.storage.folder import Folder

WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What DataParallel, Lightning and torch.compile put before every name."""

HEADS = ("classifier", "fc", "heads", "head")
"""What the last layer's name begins with in torchvision's networks and in rayal's."""


def read(location: str) -> dict[str, Tensor]:
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
