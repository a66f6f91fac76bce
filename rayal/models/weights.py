"""Weights as files: tensors by name, read without running what a file holds, and put into a module.

Only here safetensors are made and read. What a file of a network says of itself beside its weights
is in card.py.
"""

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rayal.errors import UsageError, counted, cut
from rayal.models.memory import free_rows
from rayal.storage.folder import Folder
from rayal.storage.mistaken import mistaken


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
    own, free = module.state_dict(), free_rows(module)
    return [
        f"{name} ({_shape(own.get(name))} in the network, {_shape(weights.get(name))} in the file)"
        for name in [*own, *(name for name in weights if name not in own)]
        if _shape(own.get(name), name in free) != _shape(weights.get(name), name in free)
        # Files older than torch 0.4.1, some of torchvision's among them, do not count batches.
        and not (name not in weights and name.endswith(".num_batches_tracked"))
    ]


def _shape(weight: Tensor | None, any_rows: bool = False) -> str:
    if weight is None:
        return "absent"
    sizes = ["any", *weight.shape[1:]] if any_rows else weight.shape
    return "x".join(map(str, sizes)) or "a number"


def read_weights(location: str) -> dict[str, Tensor]:
    """As `parse`, of a file at a path or an fsspec URL; raises StorageError if it is not there."""
    parent, slash, name = location.rpartition("/")
    folder = Folder(parent or slash or ".")
    return parse(folder.read(name), location)


def parse(data: bytes, source: str) -> dict[str, Tensor]:
    """The state dict in the bytes of a .safetensors or torch.save file; `source` is for messages.

    It may be the one value of a checkpoint that is a state dict. Raises UsageError for a file that
    is damaged or something else, holds Python objects, no state dict or several, or tensors without
    numbers or with such as are not finite.
    """
    try:
        content = safetensors.torch.load(data) if data[8:9] == b"{" else _unpickled(data)
    except Exception as error:  # torch's reader raises nearly anything for a damaged file
        what = mistaken(data) or _objects(data, str(error))
        what = what or f"is damaged ({_reason(error)}); restore it, or download it again"
        raise UsageError(f"{source} {what}") from error
    weights = _state_dict(content, source)
    check_numbers(weights, source)
    return weights


def check_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Raises UsageError, with the first, for weights without numbers or with infinite ones."""
    for name, weight in weights.items():
        if weight.is_meta:
            raise UsageError(
                f"{source}: {name} is on the device 'meta', which has shapes and no numbers; save"
                " the network after its weights were loaded"
            )
        if not (finite := weight.float().isfinite()).all():
            raise UsageError(
                f"{source}: {int((~finite).sum())} of {weight.numel()} numbers of {name} are not"
                " finite (NaN or infinite): the training diverged; give weights of an earlier time,"
                " or train with a lower learning rate"
            )
        if name.endswith(".running_var") and weight.lt(0).any():
            raise UsageError(f"{source}: {name} is a variance below 0; save the weights again")


def seen_nothing(weights: Mapping[str, Tensor]) -> bool:
    """Whether there are batch norms and none has seen an image: then nobody trained the network."""
    begin = {".running_mean": 0, ".running_var": 1}
    kept = [
        bool((weight == begin[name[name.rindex(".") :]]).all())
        for name, weight in weights.items()
        if name.endswith(tuple(begin))
    ]
    return bool(kept) and all(kept)


def _unpickled(data: bytes) -> Any:
    with warnings.catch_warnings(action="ignore"):  # said of files that are refused then
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _objects(data: bytes, error: str) -> str | None:
    """What to say of a file that torch refuses to run."""
    save = "which rayal never loads; save the network's state_dict() again, best as .safetensors"
    if "TorchScript" in error:
        return f"is a TorchScript program, {save}"
    named = re.search(r"GLOBAL ([\w.]+)", error)
    if named or (data[:1] == b"\x80" and error.startswith("Weights only load failed")):
        which = f" ({cut(named[1])})" if named else ""
        return f"holds Python objects{which}, {save}"
    return None


def _reason(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return cut(first.partition(". ")[0])


def _state_dict(content: Any, source: str) -> dict[str, Tensor]:
    if _is_state_dict(content):
        return dict(content)
    inner = content if isinstance(content, Mapping) else {}
    found = [name for name, value in inner.items() if _is_state_dict(value)]
    if len(found) == 1:
        return dict(inner[found[0]])
    tensors = {name: w for name, w in inner.items() if isinstance(w, Tensor)}
    if not found and 2 * len(tensors) > len(inner) and _is_state_dict(tensors):
        return tensors  # with an epoch or so among them
    number = counted(len(found), "state dict") if found else "no state dict (tensors by name)"
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
