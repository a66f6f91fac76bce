"""Weights as timm and transformers keep them: a folder with a description and one file or shards.

config.json                   what the network is
model.safetensors             the weights; or, of a large network,
model.safetensors.index.json  the names of its shards, by weight
pytorch_model.bin             older ones, read without running what a file holds
"""

from collections.abc import Iterator

from torch import Tensor

from rayal.errors import UsageError, some
from rayal.models import weights
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder, Json
from rayal.storage.location import located

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""What images are made by, of transformers."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""What weights are called, the first choice first."""
INDEX = ".index.json"


def described(location: str) -> Json | None:
    """What `config.json` in a folder says; None for a file, and a folder without one."""
    if not is_folder(location):
        return None
    found = Folder(location).read_json(CONFIG, {})
    return found if isinstance(found, dict) and found else None


def beside(location: str) -> list[str]:
    """The files in a folder that say how its weights are to be used, by path or URL."""
    if not is_folder(location):
        return []
    there = {*Folder(location).names()}
    return [f"{location}/{name}" for name in (CONFIG, *PROCESSORS) if name in there]


def is_folder(location: str) -> bool:
    """Whether a path or URL is that of a folder."""
    files, path = located(location)
    with storage_errors(location):
        return bool(files.isdir(path))


def files(location: str) -> list[str]:
    """The files of weights at a place, by path or URL: itself, or those in a folder.

    Raises UsageError for a folder without weights or with a part of them.
    """
    if not is_folder(location):
        return [location]
    folder = Folder(location)
    there = set(folder.names())
    for name in FILES:
        if name in there:
            return [f"{location}/{name}"]
        if name + INDEX in there:
            shards = _shards(folder, name + INDEX)
            if missing := [shard for shard in shards if shard not in there]:
                raise UsageError(
                    f"{location} lacks {some(missing)}, of the {len(shards)} shards that"
                    f" {name + INDEX} names; copy all of them"
                )
            return [f"{location}/{shard}" for shard in shards]
    raise UsageError(
        f"{location} holds no weights: {' or '.join(FILES)}, one or in shards, is not in it; give"
        " the folder that was saved with them, or their file"
    )


def read(location: str) -> dict[str, Tensor]:
    """The weights at a place, by the names there; raises as `files` and `weights.read_weights`."""
    return dict(_tensors(location))


def _tensors(location: str) -> Iterator[tuple[str, Tensor]]:
    for file in files(location):
        yield from weights.read_weights(file).items()


def _shards(folder: Folder, index: str) -> list[str]:
    found = folder.read_json(index, {})
    names = found.get("weight_map", {}).values() if isinstance(found, dict) else ()
    if not names or not all(isinstance(name, str) and "/" not in name for name in names):
        raise UsageError(f"{folder.url}/{index} names no shards; copy the folder again")
    return sorted({*names})
