"""Datasets of Hugging Face's on the disk: the columns that are meant, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rayal.data.datasets.saved_dataset import SavedDataset
from rayal.errors import DataError
from tests.support.originals import saved_dataset


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    saved_dataset(tmp_path, monkeypatch)
    return tmp_path


def rewritten(split: Path, **columns: Any) -> None:
    """Other columns instead of those that are there, or beside them."""
    file = split / "data-00000-of-00001.arrow"
    with pa.ipc.open_stream(file.read_bytes()) as stream:
        table = stream.read_all()
    for name, values in columns.items():
        table = table.drop_columns(name) if values is None else table.append_column(name, values)
    with pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)


def test_columns_are_found(root: Path) -> None:
    """A user would look up what Hugging Face's own reader shows at once."""
    store = SavedDataset(root=str(root)).open()

    assert ("cat", "dog", "eel") == store.card.classes and "raw" == store.card.encoding
    assert {"train-00000": 0, "train-00001": 1, "train-00002": 2}.items() <= (
        store.labels("pool").items()
    )
    assert (12, 4) == (store.card.pool, store.card.test) and {} == store.card.bad


def test_one_of_several_columns_is_named(root: Path) -> None:
    """The first of two pictures would be taken for the one that is meant."""
    images = pa.array([{"bytes": b"no image", "path": None}] * 12)
    rewritten(root / "train", other=images)
    with pytest.raises(DataError, match="columns 'image', 'other' hold images.*dataset.image"):
        SavedDataset(root=str(root)).open()

    assert 12 == SavedDataset(root=str(root), image="image").open().card.pool
    with pytest.raises(DataError, match="has no column photo, its columns are 'image', 'label'"):
        SavedDataset(root=str(root), image="photo").open()
    with pytest.raises(DataError, match="column 'label' holds int64, no image files"):
        SavedDataset(root=str(root), image="label").open()


def test_rows_that_are_kept_in_another_order(root: Path) -> None:
    """After select() or shuffle() the files still hold all rows in their old order."""
    state = root / "train" / "state.json"
    known = json.loads(state.read_text())
    state.write_text(json.dumps({**known, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match=r"save it again after flatten_indices\(\)"):
        SavedDataset(root=str(root)).open()
    state.write_text(json.dumps(known))

    assert 12 == SavedDataset(root=str(root)).open().card.pool


def test_files_that_are_damaged(root: Path) -> None:
    """Half of a dataset would be taken for all of it; saved again it is whole."""
    file, state = root / "train" / "data-00000-of-00001.arrow", root / "train" / "state.json"
    for damaged, with_what, told in (
        (file, file.read_bytes()[:40], "is damaged: .*; save the dataset again"),
        (state, b"{}", "lists no files; save the dataset again"),
        (state, b"{", "is damaged: .*; save the dataset again"),
        (state, b'{"_data_files": []}', "has no rows; name another split in dataset.pool"),
    ):
        whole = damaged.read_bytes()
        damaged.write_bytes(with_what)
        with pytest.raises(DataError, match=told):
            SavedDataset(root=str(root)).open()
        damaged.write_bytes(whole)

    assert 12 == SavedDataset(root=str(root)).open().card.pool
