"""Volumes in MRC files: axes, labels, and what is damaged or of another shape."""

import json
import sys
import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from rayal.data.bad_image import BadImage
from rayal.data.datasets._mrc import read_volume, write_volume
from rayal.data.datasets.mrc_folder import MrcFolder
from rayal.data.datasets.simulated_subtomograms import SimulatedSubtomograms
from rayal.errors import DataError, UsageError

SIMULATED = SimulatedSubtomograms(size=8, pool=6, test=3, kinds=3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    SIMULATED.write_mrc(tmp_path / "data")
    return tmp_path / "data"


def volume(root: Path, number: int, split: str = "train") -> Path:
    return root / split / "subtomogram_mrc" / f"tomotarget{number}.mrc"


def label(root: Path, number: int, split: str = "train") -> Path:
    return root / split / "json_label" / f"target{number}.json"


def dataset(root: Path, **fields: object) -> MrcFolder:
    store = str(root.parent / "stores")
    return MrcFolder.model_validate({"root": str(root), "store": store, **fields})


def test_volumes_and_labels_belong_together(root: Path) -> None:
    """The code of the recipe pairs two sorted lists: of a missing file all labels would shift."""
    store = dataset(root).open()
    simulated = SIMULATED.source()
    ids = [f"train/subtomogram_mrc/tomotarget{number}.mrc" for number in range(6)]
    found = store.pool.decode(store.pool.take(ids)).images

    assert ("ball", "rod", "shell") == store.card.classes
    assert ids == store.pool.ids()
    names = [store.card.classes[int(store.labels("pool", [unit])[unit])] for unit in ids]
    assert ["ball", "shell", "rod"] * 2 == names
    assert all(np.array_equal(a, b) for a, b in zip(found, simulated.pool.images, strict=True))
    assert found.mean() == pytest.approx(store.card.image.mean[0], abs=1e-6)
    assert found.std() == pytest.approx(store.card.image.std[0], rel=1e-6)


def test_axes_are_those_of_the_recipe(tmp_path: Path) -> None:
    """A file is Z Y X, a volume X Y Z: others are turned to those of published numbers."""
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)  # Z Y X
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(data)
    found = read_volume(str(tmp_path / "a.mrc"))

    assert (1, 4, 3, 2) == found.shape
    assert data[1, 2, 3] == found[0, 3, 2, 1]
    write_volume(tmp_path / "b.mrc", found)
    assert np.array_equal(data, mrcfile.read(tmp_path / "b.mrc"))


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.float16, ">f4"])
def test_numbers_keep_their_values(tmp_path: Path, kind: type) -> None:
    """Densities would be rounded, or bytes be read the wrong way round."""
    data = np.array([[[1, 2], [3, 100]], [[0, 7], [5, 9]]]).astype(kind)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(data)
    found = read_volume(str(tmp_path / "a.mrc"))

    assert np.dtype("float32") == found.dtype and found.dtype.isnative
    assert np.array_equal(data.transpose(2, 1, 0), found[0])


def test_complex_numbers_and_stacks_are_refused(tmp_path: Path) -> None:
    """Half of what is there would be thrown away in silence."""
    with mrcfile.new(tmp_path / "complex.mrc") as file:
        file.set_data(np.ones((2, 2, 2), np.complex64))
    with pytest.raises(BadImage, match="holds complex64 numbers"):
        read_volume(str(tmp_path / "complex.mrc"))
    with mrcfile.new(tmp_path / "stack.mrc") as file:
        file.set_data(np.ones((2, 2, 2, 2), np.float32))
    with pytest.raises(BadImage, match="is a stack of shape"):
        read_volume(str(tmp_path / "stack.mrc"))


def damaged(data: bytes, how: str) -> bytes:
    sides = np.frombuffer(data[:12], "<i4").copy()
    return {
        "empty": b"",
        "text": b"no volume at all",
        "header cut off": data[:500],
        "numbers cut off": data[:-100],
        "all numbers cut off": data[:1024],
        "no map": data[:208] + b"XXXX" + data[212:],
        "sides below 0": (-sides).tobytes() + data[12:],
        "sides beyond all memory": np.full(3, 2**31 - 1, "<i4").tobytes() + data[12:],
        "an extended header beyond all": data[:92] + b"\xff\xff\xff\x7f" + data[96:],
        "no numbers": data[:1024] + np.full(512, np.nan, "<f4").tobytes(),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        *("empty", "text", "header cut off", "numbers cut off", "all numbers cut off", "no map"),
        *("sides below 0", "sides beyond all memory", "an extended header beyond all"),
        "no numbers",
    ],
)
def test_a_damaged_file_is_bad_and_no_more(root: Path, how: str) -> None:
    """One file would end the preparation of all, or take all memory, or be trained on."""
    file = volume(root, 2)
    file.write_bytes(damaged(file.read_bytes(), how))
    store = dataset(root).open()

    assert ["train/subtomogram_mrc/tomotarget2.mrc"] == [*store.card.bad]
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))
    assert store.card.bad == decoded.bad
    assert 5 == len(decoded.images) and np.isfinite(decoded.images).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_extended_header_is_measured_before_it_is_read(tmp_path: Path, order: str) -> None:
    """Two gigabytes of zeros were made for a file of 3 kB, for seconds, before it was refused."""
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.ones((8, 8, 8), f"{order}f4"))
    data = (tmp_path / "a.mrc").read_bytes()
    size = np.array([2**31 - 1], f"{order}i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(data[:92] + size + data[96:])
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match="3,072 bytes do not hold an extended header of 2,147,"):
            read_volume(str(tmp_path / "a.mrc"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 2**24


def test_an_extended_header_that_is_there_is_passed_over(tmp_path: Path) -> None:
    """Volumes of microscopes have one, with the tilt of each image."""
    data = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(data)
        file.set_extended_header(np.zeros(64, np.uint8))

    assert np.array_equal(data.transpose(2, 1, 0), read_volume(str(tmp_path / "a.mrc"))[0])


def test_other_sides_are_named_and_refused(root: Path) -> None:
    """The code of the recipe stops in the middle of a training. As many as are allowed are left
    out of both splits, with their labels."""
    for file, sides in ((volume(root, 0), (8, 6, 8)), (volume(root, 1, "test"), (7, 8, 8))):
        file.unlink()
        write_volume(file, np.ones((1, *sides), np.float32))
    told = (
        r"2 volumes have other sides than \(8, 8, 8\), first"
        r" 'train/subtomogram_mrc/tomotarget0.mrc \(8, 6, 8\)', 'test/subtomogram_mrc/tomotarget1"
    )
    for fields in ({}, {"leave_out": 1}):
        with pytest.raises(DataError, match=f"{told}.*take them away, or set dataset.leave_out: 2"):
            dataset(root, **fields).open()
    store = dataset(root, leave_out=2).open()

    assert [f"train/subtomogram_mrc/tomotarget{n}.mrc" for n in range(1, 6)] == store.pool.ids()
    assert 2 == len(store.test.ids()) and {} == store.card.bad
    for split, number in (("train", 0), ("test", 1)):
        volume(root, number, split).unlink()
        label(root, number, split).unlink()
    assert store.pool.ids() == dataset(root).open().pool.ids()


def test_what_lacks_its_partner_is_named(root: Path) -> None:
    """Labels would go to other volumes, or a volume be dropped in silence."""
    label(root, 3).rename(label(root, 9))
    with pytest.raises(DataError, match=r"2 files of train .*tomotarget3.mrc', 'train/.*target9.*"):
        dataset(root).open()
    label(root, 9).rename(label(root, 3))
    volume(root, 4).rename(volume(root, 4).with_name("other4.mrc"))
    with pytest.raises(DataError, match="other4.mrc is not called tomotarget<number>.mrc; rename"):
        dataset(root).open()
    volume(root, 4).with_name("other4.mrc").rename(volume(root, 4))

    assert 6 == len(dataset(root).open().pool)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 3}', "{" * 10_000])
def test_a_label_that_says_nothing_is_named(root: Path, text: str) -> None:
    """A traceback would say neither the file nor what is wrong in it."""
    before = label(root, 2).read_text()
    label(root, 2).write_text(text)
    with pytest.raises(DataError, match=r"target2.json.*; write it again"):
        dataset(root).open()
    label(root, 2).write_text(before)

    assert 6 == len(dataset(root).open().pool)


def test_classes_that_are_not_listed_are_named(root: Path) -> None:
    """Their labels would be another number, or none."""
    with pytest.raises(DataError, match=r"'shell' are not among the 2 classes of dataset.classes"):
        dataset(root, classes=("rod", "ball")).open()
    store = dataset(root, classes=("shell", "rod", "ball", "torus")).open()

    assert [2, 0, 1, 2, 0, 1] == [*store.labels("pool").values()]


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    """The layout would have to be guessed."""
    with pytest.raises(
        DataError, match="mrc_folder' expects train/subtomogram_mrc/tomotarget1.mrc"
    ):
        dataset(tmp_path / "nowhere").open()


def test_the_package_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError in the middle of a preparation says nothing of extras."""
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    with pytest.raises(UsageError, match="pip install mrcfile"):
        dataset(root).open()


def test_another_file_is_another_dataset(root: Path) -> None:
    """A run would go on with volumes that it was not begun with."""
    before = dataset(root).fingerprint()
    label(root, 0).write_text(json.dumps({"name": "rod"}))

    assert before != dataset(root).fingerprint()
