"""Caltech-101: the official folder and the split of Temporal Output Discrepancy."""

import shutil
from pathlib import Path

import pytest

from rayal.data.datasets.caltech101 import FOLDER, Caltech101
from rayal.errors import DataError

COUNTS = """
435 435 200 798 55 800 42 42 47 54 46 33 128 98 43 85 91 50 43 123 47 59 62 107 47 69 73 70 50 51
57 67 52 65 68 75 64 53 64 85 67 67 45 34 34 51 99 100 42 54 88 80 31 64 86 114 61 81 78 41 66 43
40 87 32 76 55 35 39 47 38 45 53 34 57 82 59 49 40 63 39 84 57 35 64 45 86 59 64 35 85 49 86 75 239
37 59 34 56 39 60
"""
"""Images in each of the 101 official class folders."""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official folder, with empty files."""
    root = tmp_path_factory.mktemp("caltech")
    folders = {f"class_{number:03d}": int(count) for number, count in enumerate(COUNTS.split())}
    for name, count in {**folders, "BACKGROUND_Google": 467}.items():
        (root / FOLDER / name).mkdir(parents=True)
        for number in range(1, count + 1):
            (root / FOLDER / name / f"image_{number:04d}.jpg").touch()
    return root


def test_split_of_the_protocol(names: Path) -> None:
    """868 labels are 10% of all 8,677 images; curves compare only on 7,766 + 911."""
    source = Caltech101(root=str(names)).source()

    assert (7766, 911, 101) == (len(source.pool.ids), len(source.test.ids), len(source.classes))
    assert set(source.pool.ids).isdisjoint(source.test.ids)
    assert all("BACKGROUND" not in unit for unit in source.pool.ids)
    assert [int(count) * 9 // 10 for count in COUNTS.split()] == [
        list(source.pool.labels).count(label) for label in range(101)
    ]


def test_split_is_drawn_once(names: Path) -> None:
    """Strategies compare on one split; another seed gives another."""
    first, again = (Caltech101(root=str(names)).source().test.ids for _ in range(2))

    assert first == again != Caltech101(root=str(names), split_seed=1).source().test.ids


def test_real_photographs(tmp_path: Path, shared_data: Path) -> None:
    """JPEGs of many sizes, some grey, become what the pretrained network expects."""
    sample = shared_data / "samples" / "caltech101_imagefolder" / "train"
    for folder in sorted(sample.iterdir())[:3]:
        (tmp_path / FOLDER / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:10]:
            shutil.copy(file, tmp_path / FOLDER / folder.name)
    store = Caltech101(root=str(tmp_path)).open()
    decoded = store.test.decode(store.test.take(store.test.ids()))

    assert (27, 3, "bytes") == (store.card.pool, store.card.test, store.card.encoding)
    assert (3, 3, 224, 224) == decoded.images.shape
    assert {} == decoded.bad
    assert 1 < len(store.card.sizes)


def test_the_expected_folder_is_named(tmp_path: Path) -> None:
    """Two archives, a tar in a zip, end in a folder of another name."""
    with pytest.raises(DataError, match=f"expects the folder {FOLDER}"):
        Caltech101(root=str(tmp_path)).open()
