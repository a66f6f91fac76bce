"""Files of a finished stage: where they are, and what helps where one is damaged or gone."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from rayal.errors import OUT, LostError, PrunedError, StorageError
from rayal.storage.failures import suggesting
from rayal.storage.folder import FileRecord, Folder

DONE = "done.json"
"""What a finished stage has in its folder, written last."""
PRUNED = "pruned"
"""Key in it of what was removed on purpose: kind (`weights`), files, bytes, when (UTC)."""


class FileLocation(NamedTuple):
    """A file of a finished stage, for another process to read: where it is and what it must be."""

    folder: str
    """URL of the stage's folder."""
    record: FileRecord

    def read(self) -> bytes:
        """The content, checked; raises StorageError like `Folder.read`."""
        folder = Folder(self.folder)
        with of_stage(folder):
            return folder.read(self.record.name, self.record)


def way_out(stage: Folder) -> str:
    """What helps where a file of a finished stage is damaged."""
    return f"delete the folder {stage.url} to do that stage again"


@contextmanager
def of_stage(stage: Folder, instead: str | None = None) -> Iterator[None]:
    """Reading files of a finished stage: adds the way out (`instead` of doing the stage again)
    where one is damaged or not there; raises PrunedError where it was removed on purpose."""
    try:
        with suggesting(instead or way_out(stage)):
            yield
    except LostError as error:
        check_there(stage, error)
        raise


def check_there(stage: Folder, cause: Exception | None = None) -> None:
    """Raises PrunedError where files of this stage were removed on purpose."""
    pruned = None
    with suppress(StorageError):  # damaged: of the file itself more is known
        pruned = stage.read_sealed(DONE, default={}).get(PRUNED)
    if pruned is not None:
        raise PrunedError(
            f"{stage.url} has no {pruned['kind']} any more: they were pruned on"
            f" {pruned['when'][:10]}, and nothing is damaged; run the experiment again with"
            f" keep.{pruned['kind']}=all and another {OUT}: on a CPU the same seed gives the same"
            " bytes"
        ) from cause
