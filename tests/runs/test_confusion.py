"""The confusion matrix of an evaluation as a file."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from rayal.errors import StorageError
from rayal.runs.confusion import FILE, read_confusion, write_confusion
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder
from tests.support import made_up

COUNTS = np.array([[3, 0, 1], [0, 0, 0], [0, 2, 2**40]])


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return made_up.run(tmp_path / "run", cycles=1, classes=("a", "b", "c"), confusion=COUNTS)


def test_by_hand(record: Record) -> None:
    """Pairs that did not occur take no room; a class that has no image is nowhere."""
    table = pq.read_table(f"{record.folder.url}/cycle-000/evaluate/{FILE}").to_pydict()

    assert {"true": [0, 0, 2, 2], "predicted": [0, 2, 1, 2], "count": [3, 1, 2, 2**40]} == table
    assert_array_equal(COUNTS, read_confusion(record, 0, 3))


def test_what_is_not_there(record: Record, tmp_path: Path) -> None:
    """Runs of an older rayal, and cycles to come, would be damaged."""
    old = made_up.run(tmp_path / "old", cycles=1)

    assert read_confusion(record, 1, 3) is None is read_confusion(old, 0, 2)


def test_other_bytes_are_not_believed(record: Record) -> None:
    """A page would show what no model said."""
    file = Path(record.folder.url) / "cycle-000/evaluate" / FILE
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    file.write_bytes(data)

    with pytest.raises(StorageError, match="evaluate/confusion.parquet"):
        read_confusion(record, 0, 3)
    with pytest.raises(StorageError, match="classes"):
        read_confusion(made_up.run(file.parents[2] / "x", confusion=COUNTS), 0, 2)


def test_a_thousand_classes_are_a_small_file(tmp_path: Path) -> None:
    """8 MB for each cycle would be most of a run: there are no more pairs than images."""
    rng = np.random.default_rng(0)
    counts = np.zeros((1000, 1000), np.int64)
    np.add.at(counts, (rng.integers(0, 1000, 10_000), rng.integers(0, 1000, 10_000)), 1)
    files = [write_confusion(Folder(tmp_path / name), counts) for name in ("a", "b")]

    assert files[0].sha256 == files[1].sha256 and files[0].bytes < 50_000


def test_older_results_open() -> None:
    """A run folder of rayal 0.4 would be damaged."""
    written = {"accuracy": 0.5, "labels": 10, "cost": 10.0}
    found = Evaluated.from_json(written)

    assert found.confusion is found.calibration is None
    assert written == found.to_json()
