"""Checkpoints of a training: the newest two, each believed only with the record that proves it."""

import io
import logging
from typing import Any

import torch

from rayal.errors import StorageError
from rayal.storage.folder import FileRecord, Folder

KEPT = 2

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints in a folder, named by the epochs done. One writer; any number of readers."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def save(self, epochs: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint, then removes those that are no longer among the newest two."""
        data = io.BytesIO()
        torch.save(state, data)
        record = self.folder.write(f"checkpoint-{epochs:06d}.pt", data.getvalue())
        # written last: its existence means the checkpoint is whole
        self.folder.write_sealed(f"checkpoint-{epochs:06d}.json", {"file": record._asdict()})
        for name in self._records()[KEPT:]:
            self._remove(name)

    def newest(self) -> bytes | None:
        """The newest checkpoint that is whole, for `state_of`; a damaged one is passed over,
        aloud."""
        for name in self._records():
            try:
                record = FileRecord(**self.folder.read_sealed(name)["file"])
                return self.folder.read(record.name, record)
            except StorageError as error:
                logger.warning("training goes back one checkpoint: %s", error)
        return None

    def clear(self) -> None:
        """Removes all checkpoints, half-written ones included."""
        for name in self._names():
            self.folder.remove(name)

    def _names(self) -> list[str]:
        return [name for name in self.folder.names() if name.startswith("checkpoint-")]

    def _records(self) -> list[str]:
        """Newest first."""
        return sorted((name for name in self._names() if name.endswith(".json")), reverse=True)

    def _remove(self, record: str) -> None:
        self.folder.remove(record)  # first, so that no record is left without its checkpoint
        self.folder.remove(record.replace(".json", ".pt"))


def state_of(checkpoint: bytes) -> dict[str, Any]:
    """What was saved, on the CPU."""
    state: dict[str, Any] = torch.load(
        io.BytesIO(checkpoint), map_location="cpu", weights_only=True
    )
    return state
