"""Vectors of features in files of one's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayal.data.datasets.features import Features
from rayal.errors import DataError
from rayal.storage import csv_file

VECTORS = np.random.default_rng(0).normal(3, 2, (6, 4)).astype(np.float32)
IDS = [f"unit-{row}" for row in range(6)]
LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


def parquet(path: Path, rows: slice, **changes: Any) -> None:
    columns = {"id": IDS[rows], "features": VECTORS[rows].tolist(), "label": LABELS[rows]}
    pq.write_table(pa.table(columns | changes), path, row_group_size=2)


def npz(path: Path, rows: slice, **changes: Any) -> None:
    arrays = {"id": np.array(IDS[rows]), "features": VECTORS[rows], "label": np.array(LABELS[rows])}
    np.savez(path, **arrays | changes)


def npy(path: Path, rows: slice, **changes: Any) -> None:
    """With ids and labels beside it, as a table of both."""
    np.save(path, changes.get("features", VECTORS[rows]))
    table = csv_file.dump(["id", "label"], zip(IDS[rows], LABELS[rows], strict=True))
    path.with_name(f"{path.stem}_ids.csv").write_text(table)


WRITE = {"parquet": parquet, "npz": npz, "npy": npy}


@pytest.fixture(params=[*WRITE])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Files of one kind: four units of the pool, two of the test split."""
    name: str = request.param
    WRITE[name](tmp_path / f"pool.{name}", slice(0, 4))
    WRITE[name](tmp_path / f"test.{name}", slice(4, 6))
    return name


def dataset(root: Path, kind: str, **options: Any) -> Features:
    return Features(root=str(root), pool=f"pool.{kind}", test=f"test.{kind}", **options)


def test_vectors_are_kept_as_halves(kind: str, tmp_path: Path) -> None:
    """A head would learn from other numbers than those in the file, or from another unit's."""
    store = dataset(tmp_path, kind).open()
    found, image = store.pool.decode(store.pool.take(IDS[:4][::-1])), store.card.image

    assert IDS[:4] == store.pool.ids() and {} == store.card.bad
    assert VECTORS[:4][::-1].astype(np.float16).tobytes() == found.images.tobytes()
    assert ((4,), (), "float16", 8) == (image.shape, image.sides, image.numbers, image.byte_count)
    halves = VECTORS[:4].astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(image.mean, halves.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(image.std, halves.std(axis=0), rtol=1e-12)
    assert dict(zip(IDS[:4], [0, 1, 0, 1], strict=True)) == store.labels("pool")
    assert ("cat", "dog") == store.card.classes


@pytest.mark.parametrize("wrong", [np.inf, np.nan, 70_000.0])
def test_a_number_that_is_none_makes_its_unit_bad(kind: str, tmp_path: Path, wrong: float) -> None:
    """One vector of a million would make every loss NaN; 70,000 is beyond what float16 holds."""
    vectors = VECTORS[:4].copy()
    vectors[2, 1] = wrong
    changed = vectors.tolist() if kind == "parquet" else vectors
    WRITE[kind](tmp_path / f"pool.{kind}", slice(0, 4), features=changed)

    assert ["unit-2"] == [*dataset(tmp_path, kind).open().card.bad]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features": ["a", "b", "c", "d"]}, "not lists of numbers"),
        ({"features": [[1.0], [1.0, 2.0], [1.0], [1.0]]}, "differ in length"),
        ({"features": [[1.0], None, [1.0], [1.0]]}, "null"),
        ({"id": [1, 2, 3, 4]}, "not strings"),
        ({"label": [0.5, 1.0, 0.0, 1.0]}, "write it again as string or int64"),
        ({"features": [[1.0, 2.0]] * 4}, "has vectors of 2 features, test.parquet of 4"),
    ],
)
def test_files_of_another_form(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """What cannot be features would be found in the middle of a study."""
    parquet(tmp_path / "pool.parquet", slice(0, 4), **change)
    parquet(tmp_path / "test.parquet", slice(4, 6))

    with pytest.raises(DataError, match=reason):
        dataset(tmp_path, "parquet").open()


def test_files_elsewhere_are_named_by_absolute_paths(
    kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Vectors of one test split would have to be copied beside every pool."""
    other, there = tmp_path_factory.mktemp("other"), dataset(tmp_path, kind)
    for file in tmp_path.glob("test*"):
        file.rename(other / file.name)
    elsewhere = there.model_copy(update={"test": f"{other}/{there.test}"})

    assert elsewhere.open().test.ids() == IDS[4:6]
    with pytest.raises(DataError, match=f"test.{kind} is missing"):
        there.open()


def test_names_of_columns(tmp_path: Path) -> None:
    """The columns of others have other names; one that is missing is named with those there are."""
    parquet(tmp_path / "pool.parquet", slice(0, 4))
    parquet(tmp_path / "test.parquet", slice(4, 6))

    with pytest.raises(DataError, match="no column key, its columns are id, features, label"):
        dataset(tmp_path, "parquet", id="key").open()
    (tmp_path / "pool.csv").touch()
    (tmp_path / "test.csv").touch()
    with pytest.raises(DataError, match="is no .npz, .npy or .parquet file"):
        dataset(tmp_path, "csv").open()


def test_arrays_that_could_run_code_are_refused(tmp_path: Path) -> None:
    """A pickle in a file of features runs whatever its author wanted."""
    npz(tmp_path / "pool.npz", slice(0, 4), label=np.array(LABELS[:4], object))
    npz(tmp_path / "test.npz", slice(4, 6))

    with pytest.raises(DataError, match="allow_pickle=False"):
        dataset(tmp_path, "npz").open()


def beside(root: Path, **files: Any) -> Features:
    """An .npy of the pool and one of the test split, with these files beside that of the pool."""
    for name, content in {"pool_ids.txt": IDS[:4], "pool_labels.txt": LABELS[:4], **files}.items():
        if isinstance(content, np.ndarray):
            np.save(root / name, content)
        elif content is not None:
            (root / name).write_text("\n".join(content) + "\n", encoding="utf-8-sig")
    np.save(root / "pool.npy", VECTORS[:4])
    npy(root / "test.npy", slice(4, 6))
    return dataset(root, "npy")


def test_rows_that_are_named_beside_them(tmp_path: Path) -> None:
    """The usual pair of files would have to be written again, with all in memory."""
    texts = beside(tmp_path)
    found = texts.open()
    arrays = {"pool_ids.npy": np.array(IDS[:4]), "pool_labels.npy": np.array(LABELS[:4])}
    (tmp_path / "a").mkdir()
    same = beside(tmp_path / "a", **arrays, **{"pool_ids.txt": None, "pool_labels.txt": None})

    assert ["pool.npy", "pool_ids.txt", "pool_labels.txt", "test.npy", "test_ids.csv"] == (
        texts.files()
    )
    assert IDS[:4] == found.pool.ids() == same.open().pool.ids()
    assert found.labels("pool") == same.open().labels("pool")
    images = found.pool.decode(found.pool.take(IDS[:4])).images
    assert VECTORS[:4].astype(np.float16).tobytes() == images.tobytes()
    (tmp_path / "pool_ids.txt").write_text("\n".join([*IDS[1:4], IDS[0]]))
    assert texts.fingerprint() != found.card.fingerprint


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pool_ids.txt": IDS[:3]}, r"shapes \(3,\), \(4, 4\) and \(4,\); they are N, N x D and N"),
        ({"pool_labels.txt": LABELS[:5]}, r"shapes \(4,\), \(4, 4\) and \(5,\)"),
        ({"pool_ids.txt": None}, r"pool_ids.csv \(or .txt, .npy\) is missing"),
        ({"pool_labels.txt": None}, r"pool_labels.csv \(or .txt, .npy\) is missing"),
        ({"pool_ids.txt": [IDS[0], *IDS[:3]]}, "unit-0"),
        ({"pool_ids.txt": [IDS[5], *IDS[:3]]}, "unit-5"),
        ({"pool_ids.txt": None, "pool_ids.npy": np.arange(4)}, "holds int64, not strings"),
        (
            {"pool_ids.txt": None, "pool_ids.npy": np.array(IDS[:4], object)},
            "allow_pickle=False",
        ),
    ],
)
def test_ids_that_do_not_belong(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A vector would be another unit's, for a whole study."""
    with pytest.raises(DataError, match=message):
        beside(tmp_path, **files).open()


def test_a_pool_that_nobody_has_labeled(kind: str, tmp_path: Path) -> None:
    """Who asks people has no labels to write, and would have to invent some."""
    store = dataset(tmp_path, kind, label=None).open()
    alone = dataset(tmp_path, kind, label=None, classes=("cat", "dog"))
    alone = alone.model_copy(update={"test": None})

    assert (False, True) == (store.card.labeled, store.card.tested)
    assert ("cat", "dog") == store.card.classes
    assert {IDS[4]: 0, IDS[5]: 1} == store.labels("test")
    assert (False, False) == (alone.open().card.labeled, alone.open().card.tested)
    assert not alone.tested
    with pytest.raises(DataError, match="nobody tells the classes; set dataset.classes"):
        alone.model_copy(update={"classes": None}).open()


def test_a_table_without_labels_says_so(tmp_path: Path) -> None:
    """That there is an option for it is not to be guessed."""
    columns = {"id": IDS[:4], "features": VECTORS[:4].tolist()}
    pq.write_table(pa.table(columns), tmp_path / "pool.parquet")
    parquet(tmp_path / "test.parquet", slice(4, 6))
    with pytest.raises(DataError, match="no column label, .*; where nobody .*, set label: null"):
        dataset(tmp_path, "parquet").open()

    assert not dataset(tmp_path, "parquet", label=None).open().card.labeled


def test_stores_that_are_there_are_found_again() -> None:
    """A new option would prepare everybody's vectors once more."""
    assert "test_label" not in Features().shaping()
    assert "test_label" in Features(test_label="truth").shaping()
