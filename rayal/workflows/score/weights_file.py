"""Where the weights of a pool scoring lie: in a file, in a folder, or in a run."""

from rayal.errors import StorageError, UsageError
from rayal.models.trained_model import WEIGHTS
from rayal.runs.record import Record
from rayal.runs.result_files import recorded_file
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder
from rayal.storage.location import located
from rayal.storage.stage_file import check_there


def weights_file(location: str) -> tuple[Folder, str]:
    """The file of weights itself: of a run its last one, of a folder the one with rayal's name."""
    files, path = located(location)
    with storage_errors(location):
        is_file, exists = files.isfile(path), files.exists(path)
    if not exists:
        check_there(Folder(location.rpartition("/")[0] or "/"))
        raise StorageError(f"{location}: there is no such file or folder; check the path")
    if is_file:
        parent, _, name = location.rpartition("/")
        return Folder(parent or "/"), name
    folder = Folder(location)
    if folder.exists("run.json"):
        cycles = [row["cycle"] for row in Record(folder).cycles()]
        if not cycles:
            raise UsageError(f"{location} is a run without a trained model yet; let it go on first")
        folder = folder / f"cycle-{cycles[-1]:03d}" / "train"
    elif folder.exists("train"):
        folder = folder / "train"
    if not folder.exists(WEIGHTS):
        check_there(folder)
        raise UsageError(f"{location} holds no weights; give a file of them, or a rayal run")
    return folder, WEIGHTS


def read_weights(folder: Folder, name: str) -> bytes:
    """A file of weights: as its training recorded it, where that lies beside it."""
    return folder.read(name, recorded_file(folder, name))
