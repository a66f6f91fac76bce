"""How often one class was taken for another, as a run keeps it: `true`, `predicted` and `count` of
each pair of classes that occurred, in Parquet. C classes.
"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayal.errors import StorageError
from rayal.runs.ledger import stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.failures import suggesting
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.stage_file import way_out

FILE = "confusion.parquet"
COLUMNS = {"true": pa.int32(), "predicted": pa.int32(), "count": pa.int64()}


def write_confusion(out: Folder, counts: NDArray[np.int64]) -> FileRecord:
    """Into the folder of an evaluation: counts C C, the true class in rows. At most as many rows as
    there are predictions, in the order of `true`, then `predicted`; the same bytes for the same
    counts."""
    true, predicted = np.nonzero(counts)
    columns = [true.astype(np.int32), predicted.astype(np.int32), counts[true, predicted]]
    data = io.BytesIO()
    table = pa.table(columns, schema=pa.schema(COLUMNS))
    pq.write_table(table, data, compression="zstd", write_page_checksum=True)
    return out.write(FILE, data.getvalue())


def read_confusion(record: Record, cycle: int, classes: int) -> NDArray[np.int64] | None:
    """The counts of a cycle, C C, the true class in rows; None where there are none: without test
    images, before the evaluation, and where an older rayal evaluated.

    Raises StorageError where the file is damaged.
    """
    evaluated = record.result(cycle, Evaluated)
    if evaluated is None or evaluated.confusion is None:
        return None
    out = stage_folder(record.folder, cycle, Evaluated.stage)
    with suggesting(way_out(out)):
        data = out.read(evaluated.confusion.name, evaluated.confusion)
    table = pq.read_table(io.BytesIO(data))
    true, predicted, count = (table[name].to_numpy() for name in COLUMNS)
    if (
        len(true)
        and not 0 <= min(true.min(), predicted.min()) <= max(true.max(), predicted.max()) < classes
    ):
        raise StorageError(f"{out.url}/{FILE} has classes beyond {classes}; {way_out(out)}")
    found = np.zeros((classes, classes), np.int64)
    found[true, predicted] = count
    return found
