"""Tar files of WebDataset: samples by their names, and what is refused."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.data.datasets.web_dataset import WebDataset
from rayal.errors import DataError
from tests.support.originals import encoded

PNG = [encoded(np.full((4, 4, 3), value, np.uint8)) for value in range(8)]


def tar(path: Path, **files: bytes) -> None:
    """Files in this order; `__` in a name stands for a dot."""
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def dataset(root: Path, **options: Any) -> WebDataset:
    return WebDataset(root=str(root), pool=("train-*.tar",), test=("test.tar",), **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tar(tmp_path / "train-1.tar", c__PNG=PNG[2], c__cls=b"1\n")
    tar(tmp_path / "train-0.tar", b__cls=b"1", b__png=PNG[0], a__png=PNG[1], a__cls=b"0")
    tar(tmp_path / "test.tar", t__png=PNG[3], t__cls=b"0", t__json=b"{}")
    return tmp_path


def test_samples_are_files_of_one_name(root: Path) -> None:
    """An image would get the label of the one before it."""
    store = dataset(root, classes=("cat", "dog")).open()
    found = store.pool.decode(store.pool.take(["a", "b", "c"])).images

    assert ["b", "a", "c"] == store.pool.ids()
    assert {"a": 0, "b": 1, "c": 1} == store.labels("pool")
    assert [1, 0, 2] == found[:, 0, 0, 0].tolist()


def test_labels_of_other_kinds(tmp_path: Path) -> None:
    """Names, and keys of JSON, are labels too."""
    for name in ("train-0", "test"):
        tar(
            tmp_path / f"{name}.tar",
            **{
                f"{name}-a__png": PNG[0],
                f"{name}-a__txt": b"dog",
                f"{name}-a__json": b'{"animal": "cat", "n": 3}',
            },
        )

    assert ("dog",) == dataset(tmp_path, label="txt").open().card.classes
    assert ("cat",) == dataset(tmp_path, label="json.animal").open().card.classes
    with pytest.raises(DataError, match="holds no label .*set dataset.label to the ending"):
        dataset(tmp_path, label="json.plant").open()


@pytest.mark.parametrize(
    ("files", "reason", "mended"),
    [
        (
            {"x__png": PNG[0], "x__jpg": PNG[1], "x__cls": b"0"},
            "'x' has two images; leave one of them out",
            {"x__png": PNG[0], "x__cls": b"0"},
        ),
        (
            {"x__png": PNG[0], "x__cls": b"dog"},
            "is 'dog', not the number of a class; correct it",
            {"x__png": PNG[0], "x__cls": b"0"},
        ),
        (
            {"x__png": PNG[0], "x__cls": b"0" * 2_000_000},
            "has 2,000,000 bytes, no label has; name another ending",
            {"x__png": PNG[0], "x__cls": b"0"},
        ),
    ],
)
def test_what_is_no_sample(
    root: Path, files: dict[str, bytes], reason: str, mended: dict[str, bytes]
) -> None:
    """A label would be guessed."""
    tar(root / "train-2.tar", **files)
    with pytest.raises(DataError, match=reason):
        dataset(root).open()
    tar(root / "train-2.tar", **mended)

    assert "x" in dataset(root).open().pool.ids()


def test_the_ending_of_labels_is_named(tmp_path: Path) -> None:
    """Labels that are called otherwise would be no labels."""
    for name in ("train-0", "test"):
        files = {f"{name}__png": PNG[0], f"{name}__json": b'{"no": null, "n": 0}'}
        tar(tmp_path / f"{name}.tar", **files)
    for wrong, told in (
        ({}, "1 image has no .cls beside them, first 'train-0'; set dataset.label"),
        ({"label": "json.no"}, "None is no label; set dataset.label to another key"),
    ):
        with pytest.raises(DataError, match=told):
            dataset(tmp_path, **wrong).open()

    assert ("0",) == dataset(tmp_path, label="json.n").open().card.classes


def test_a_file_that_is_cut_off(root: Path) -> None:
    """The rest of a pool would be missing, and nobody know; fetched again it is whole."""
    file = root / "train-0.tar"
    whole = file.read_bytes()
    for damaged in (b"no tar file at all" * 100, whole[:1200]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="is no whole tar file.*fetch it again"):
            dataset(root).open()
    file.write_bytes(whole)

    assert 3 == dataset(root).open().card.pool
    with pytest.raises(DataError, match="has no valid-.*; correct dataset.root or the name"):
        WebDataset(root=str(root), pool=("valid-*.tar",), test=("test.tar",)).open()
