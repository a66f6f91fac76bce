"""Results in the folders of stages, and of single trainings and fits among those of a stage."""

from pydantic import ValidationError

from rayal.errors import StorageError
from rayal.runs.result import R
from rayal.runs.results import Fit, Trained
from rayal.settings import wanted
from rayal.storage.failures import suggesting
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.journal import DONE, read_done
from rayal.storage.stage_file import way_out

TRAINED = "trained.json"
"""The result of one training among several of a stage, or kept for several runs."""
FIT = "fit.json"
"""The result of one fit of a stage."""
FIT_ROWS = "fit.jsonl"
"""How a fit went, a row for each of its rounds."""
TRAIN_AGAIN = "delete it to train that model again"
"""What helps where that file is damaged."""


def read_result(kind: type[R], out: Folder) -> R:
    """The result of the finished stage in this folder.

    Raises StorageError where there is none, or it is damaged or of another kind.
    """
    return checked_result(kind, read_done(out)["result"], out)


def read_trained(out: Folder) -> Trained | None:
    """The model that a training left in this folder, apart from the stage's own result; None where
    it is not finished. Raises StorageError where that is damaged."""
    with suggesting(TRAIN_AGAIN):
        written = out.read_sealed(TRAINED, None)
    return (
        None if written is None else _checked(Trained, written, f"{out.url}/{TRAINED}", TRAIN_AGAIN)
    )


def read_fit(out: Folder) -> Fit | None:
    """The companion that a fit left in this folder; None where it is not finished. Raises
    StorageError where what it says is damaged."""
    way_out = "delete it to fit that companion again"
    with suggesting(way_out):
        written = out.read_sealed(FIT, None)
    return None if written is None else _checked(Fit, written, f"{out.url}/{FIT}", way_out)


def write_fit(out: Folder, fit: Fit) -> None:
    """What `read_fit` reads; written last, it says that all files are there."""
    out.write_sealed(FIT, fit.to_json())


def recorded_file(out: Folder, name: str) -> FileRecord | None:
    """What a training in this folder says of a file that it wrote; None where it says nothing, as
    in a folder to which the file was copied."""
    trained = read_trained(out)
    if trained is None and out.exists(DONE) and "weights" in (read_done(out)["result"] or {}):
        trained = read_result(Trained, out)
    files = () if trained is None else (trained.weights, *trained.companions.values())
    if (fit := read_fit(out)) is not None:
        files = (*files, fit.companion)
    return next((file for file in files if file.name == name), None)


def write_trained(out: Folder, trained: Trained) -> None:
    """What `read_trained` reads; written last, it says that all files are there."""
    out.write_sealed(TRAINED, trained.to_json())


def checked_result(kind: type[R], written: Json, out: Folder) -> R:
    """The result that was written in this folder; raises as `read_result`."""
    return _checked(kind, written, f"{out.url}/done.json", way_out(out))


def _checked(kind: type[R], written: object, file: str, way_out: str) -> R:
    try:
        return kind.from_json(written if isinstance(written, dict) else {"": written})
    except ValidationError as error:
        reason = wanted(error.errors()[0])
        raise StorageError(f"{file} is no {kind.__name__} ({reason}); {way_out}") from error
