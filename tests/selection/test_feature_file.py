"""Feature files: both forms, and everything that can be wrong with one."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.errors import DataError, StorageError
from rayal.selection.candidates import Candidates
from rayal.selection.feature_file import features_of, read_features
from rayal.storage.ids import Ids

IDS = ["a", "b", "c", "d"]
FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)

FLOATS = pa.list_(pa.float32())


def named(*ids: str) -> Ids:
    return Ids(ids)


def npz(folder: Path, ids=None, features=FEATURES) -> str:
    path = folder / "features.npz"
    np.savez(path, ids=np.array(IDS) if ids is None else ids, features=features)
    return str(path)


def parquet(folder: Path, ids=IDS, features=FEATURES, width: int = 3, kind=None) -> str:
    path = folder / "features.parquet"
    kind = kind or pa.list_(pa.float32(), width)
    rows = [None if row is None else list(row) for row in features]
    pq.write_table(pa.table({"id": ids, "features": pa.array(rows, kind)}), path)
    return str(path)


@pytest.mark.parametrize("write", [npz, parquet, partial(parquet, kind=FLOATS)])
def test_gives_the_features_of_these_ids(write, tmp_path):
    """Features would belong to other units than those asked for."""
    assert read_features(write(tmp_path), named("d", "a")).tolist() == [[9, 10, 11], [0, 1, 2]]
    assert read_features(write(tmp_path), named()).shape == (0, 3)


@pytest.mark.parametrize("write", [npz, parquet])
def test_names_the_first_unit_that_is_missing(write, tmp_path):
    """A file of another dataset would end in a traceback."""
    with pytest.raises(DataError, match=r"lacks 2 of 3 units, the first is 'x'"):
        read_features(write(tmp_path), named("a", "x", "y"))
    added = {"ids": np.array(["a", "x", "y", "d"])}
    assert 3 == len(read_features(write(tmp_path, **added), named("a", "x", "y")))


@pytest.mark.parametrize("write", [npz, parquet])
def test_refuses_an_id_that_is_there_twice(write, tmp_path):
    """Which of the two rows counts would be chance."""
    with pytest.raises(DataError, match="4 ids, 3 of them different; leave one of each$"):
        read_features(write(tmp_path, ids=np.array(["a", "b", "c", "a"])), named("b"))
    left = {"ids": np.array(["a", "b", "c"]), "features": FEATURES[:3]}
    assert 1 == len(read_features(write(tmp_path, **left), named("b")))


@pytest.mark.parametrize("write", [npz, parquet])
def test_refuses_what_is_not_finite(write, tmp_path):
    """NaN would be near to nothing and far from nothing."""
    features = FEATURES.copy()
    features[2, 0] = np.nan

    with pytest.raises(DataError, match="of unit 'c' are not all finite"):
        read_features(write(tmp_path, features=features), named("b", "c"))


def test_never_unpickles(tmp_path):
    """A feature file from the web could run code."""
    with pytest.raises(DataError, match="allow_pickle"):
        read_features(npz(tmp_path, ids=np.array(IDS, dtype=object)), named("a"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: npz(p, ids=np.arange(4)), "not strings"),
        (lambda p: npz(p, features=FEATURES[:3]), "of shape"),
        (lambda p: npz(p, features=FEATURES[0]), "of shape"),
        (lambda p: parquet(p, features=[*FEATURES[:3], [1]], kind=FLOATS), "have 3 features, .* 1"),
        (lambda p: parquet(p, features=["a"] * 4, kind=pa.list_(pa.string())), "no.*of numbers"),
        (lambda p: parquet(p, features=[*FEATURES[:3], [1, None, 2]]), "are null"),
        (lambda p: parquet(p, features=[*FEATURES[:3], None]), "null|size"),
    ],
)
def test_says_what_is_wrong_with_the_form(damage, message, tmp_path):
    """The user would see a traceback from numpy or arrow."""
    with pytest.raises(DataError, match=message):
        read_features(damage(tmp_path), named("a"))


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_refuses_a_file_that_is_damaged_or_lacks_a_part(kind, tmp_path):
    """Half a download would end in a traceback."""
    (tmp_path / f"half.{kind}").write_bytes(b"PK\x03\x04 half a file")
    np.savez(tmp_path / "other.npz", ids=np.array(IDS))
    pq.write_table(pa.table({"id": IDS}), tmp_path / "other.parquet")

    for name in ("half", "other"):
        with pytest.raises(
            DataError, match="does not hold ids and features: .*; write it again as"
        ):
            read_features(str(tmp_path / f"{name}.{kind}"), named("a"))
    for write in (npz, parquet):
        assert 1 == len(read_features(write(tmp_path), named("a")))


def test_refuses_other_kinds_and_absent_files(tmp_path):
    """A .npy has no ids; a missing file must name itself."""
    with pytest.raises(
        DataError, match=r"no \.npz or \.parquet file; give features in one of these"
    ):
        read_features(str(tmp_path / "features.npy"), named("a"))
    for write in (npz, parquet):
        assert 1 == len(read_features(write(tmp_path), named("a")))
    with pytest.raises(StorageError, match=r"absent\.npz"):
        read_features(str(tmp_path / "absent.npz"), named("a"))


def test_pool_and_labeled_come_from_the_file(tmp_path):
    """Labeled and unlabeled units would be compared in different feature spaces."""
    pool = Candidates(named("c", "a"), None, labeled_ids=named("b"))
    from_file = features_of(pool, npz(tmp_path))

    assert [each.tolist() for each in from_file] == [[[6, 7, 8], [0, 1, 2]], [[3, 4, 5]]]
