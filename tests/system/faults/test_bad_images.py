"""Pools of bad images and odd ids, and files that come and go (E, B14)."""

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.cycle import shard_file
from rayal.cycle.first_units import first_units
from rayal.errors import DataError, LockedError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.whole_runs import BRIEF, ONE_THREAD, At, chosen, go, passed, stopped_at


def encoded(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> bytes:
    seed = (*f"{kind}{mode}".encode(), *size)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, kind)
    return data.getvalue()


def digits_png() -> Iterator[bytes]:
    """The bundled digits as PNG files."""
    from sklearn.datasets import load_digits

    for image in load_digits().images:
        data = io.BytesIO()
        Image.fromarray((image * 15).astype(np.uint8)).convert("RGB").save(data, "PNG")
        yield data.getvalue()


BOMB = (  # a PNG of a few bytes that claims 60,000 x 60,000 pixels
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\xb5\x4a\xbe\x28"
)

BAD = {
    "null": None,
    "empty": b"",
    "text.jpg": b"hello",
    "cut": encoded(size=(30, 30))[:300],
    "bomb": BOMB,
}

GOOD = {  # E04, E13
    f"good/{mode}-{kind}-{size[0]}x{size[1]}": encoded(kind, mode, size)
    for mode, kind in (("L", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("CMYK", "TIFF"), ("1", "PNG"))
    for size in ((8, 8), (20, 9), (1, 40))
}

ODD_IDS = [  # E09
    *("../../etc/passwd", "/etc/passwd", "a\nb,c\r\n", "\x1b[2J", "ü☃", "=cmd()", " ", '"', "%2e"),
    *("x" * 10_000, "None", "nan", "1e5", "<script>"),
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dataset of images of every mode and size under odd names, with five that are no images."""
    root = tmp_path_factory.mktemp("hostile")
    digits = digits_png()
    pool = {**BAD, **GOOD, **{unit: next(digits) for unit in ODD_IDS}}
    pool |= {f"plain-{n}": next(digits) for n in range(60)}
    test = {f"test-{n}": next(digits) for n in range(20)}
    for name, images in (("pool", pool), ("test", test)):
        columns = {
            "id": pa.array(list(images), pa.string()),
            "image": pa.array(list(images.values()), pa.binary()),
            "label": [n % 3 for n in range(len(images))],
        }
        pq.write_table(pa.table(columns), root / f"{name}.parquet")
    names = {"pool": ["pool.parquet"], "test": ["test.parquet"]}
    return {"name": "parquet", "root": str(root), **names, "size": 8, "encoding": "bytes"}


@pytest.mark.parametrize("encoding", ["raw", "bytes"])
@pytest.mark.parametrize("strategy", ["cod", "random"])
def test_a_hostile_pool(
    tiny: Callable[..., Experiment],
    hostile: dict[str, Any],
    tmp_path: Path,
    encoding: str,
    strategy: str,
) -> None:
    """One bad image or odd id would end a run, be bought, or be lost (E01, E04, E07, E09, E16)."""
    x = tiny(
        dataset={**hostile, "encoding": encoding, "store": str(tmp_path / "stores")},
        scheme=BRIEF,
        strategy=strategy,
        observers=["entropy"],
        budget={"initial": 20, "per_cycle": 30, "total": 94},  # all of the pool, the bad included
        compute={**ONE_THREAD, "score_batch": 16},
    )
    pool = go(x, tmp_path / "run")
    everything = set(x.dataset.open().pool.ids())
    text = (tmp_path / "run/cycle-000/select/chosen.csv").read_text()

    assert 94 == len(everything)
    assert everything - BAD.keys() == pool.labels.keys()
    assert (3, 89.0, ()) == (pool.cycle, pool.spent, pool.refused)
    assert [20, 30, 30, 9] == [list(pool.bought.values()).count(cycle) for cycle in range(-1, 3)]
    assert chosen(tmp_path / "run")[0] == [row["id"] for row in csv.DictReader(io.StringIO(text))]
    assert BAD.keys() == x.dataset.open().card.bad.keys()
    for cycle in range(4):  # no pass looks at them again; the last one has nothing else left
        assert {} == passed(tmp_path / "run", cycle).bad
    assert Record(Folder(tmp_path / "run")).complete


def test_too_many_bad_images_stop_a_run(
    tiny: Callable[..., Experiment], hostile: dict[str, Any], tmp_path: Path
) -> None:
    """A broken download would be trained on as if it were a small dataset (E01)."""
    x = tiny(dataset=hostile, budget={"initial": 20, "per_cycle": 30, "total": 50}, max_bad=4)
    with pytest.raises(UsageError, match="max_bad: 4 is less than the 5 images"):
        go(x, tmp_path)

    assert not any(tmp_path.iterdir())


@pytest.fixture
def files(tiny: Callable[..., Experiment], tmp_path: Path) -> Experiment:
    """An experiment on 90 image files that stay where they are."""
    root = tmp_path / "images"
    for number, data in zip(range(110), digits_png(), strict=False):
        split, label = "train" if number < 90 else "test", number % 3
        file = root / split / f"class-{label}" / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tiny(
        dataset={"name": "image_folder", "root": str(root), "encoding": "uri"},
        scheme=BRIEF,
        budget={"initial": 20, "per_cycle": 20, "total": 80},
        compute=ONE_THREAD,
        max_bad=5,
    )


def unlabeled(x: Experiment, count: int) -> list[Path]:
    """Files of the pool that are not labeled at first."""
    store = x.dataset.open()
    first = set(first_units(x, store))
    rest = [unit for unit in store.pool.ids() if unit not in first]
    return [Path(str(x.dataset.root)) / unit for unit in rest[:count]]


def test_images_that_disappear(files: Experiment, tmp_path: Path) -> None:
    """A file that vanishes after it was listed would end the run, or be bought (B14)."""
    gone = unlabeled(files, 5)

    def vanish() -> None:
        for path in gone:
            path.unlink()

    pool = go(files, tmp_path / "run", At(0, "score", vanish))
    names = {str(path.relative_to(str(files.dataset.root))) for path in gone}

    assert 80 == len(pool.labels) and not names & pool.labels.keys()
    for cycle in range(3):
        bad = passed(tmp_path / "run", cycle).bad
        assert {unit: f"missing: {files.dataset.root}/{unit}" for unit in sorted(names)} == bad


def test_a_test_image_that_disappears(files: Experiment, tmp_path: Path) -> None:
    """The accuracy would be of another test set from one cycle to the next."""
    x = files.model_copy(update={"budget": Budget(initial=20, per_cycle=20, total=20)})
    there = next(Path(str(x.dataset.root)).glob("test/*/*.png"))
    elsewhere = tmp_path / there.name
    with pytest.raises(DataError, match="test image .*; mend it, or remove it and use another --o"):
        go(x, tmp_path / "run", At(0, "evaluate", lambda: there.rename(elsewhere)))
    assert 20 == len(go(x, tmp_path / "another").labels)
    elsewhere.rename(there)

    assert 20 == len(go(x, tmp_path / "run").labels)


def test_too_many_images_that_disappear(files: Experiment, tmp_path: Path) -> None:
    """A disk that was unmounted would leave a run that learns from a handful of images (B14)."""
    gone = unlabeled(files, 6)
    hidden = [path.with_suffix(".gone") for path in gone]

    def vanish() -> None:
        for path, elsewhere in zip(gone, hidden, strict=True):
            path.rename(elsewhere)

    with pytest.raises(DataError, match="6 images cannot be decoded, more than max_bad 5") as many:
        go(files, tmp_path / "run", At(0, "score", vanish))
    assert 3 == many.value.exit_code
    assert "missing: " in str(many.value)
    assert not (tmp_path / "run/cycle-000/score/done.json").exists()

    for path, elsewhere in zip(gone, hidden, strict=True):
        elsewhere.rename(path)

    assert 80 == len(go(files, tmp_path / "run").labels)


def test_images_that_come_back(files: Experiment, tmp_path: Path) -> None:
    """A disk that did not answer for a moment would stop the run for ever: the next cycle finds no
    kept prediction of an image that can be read again (B14)."""
    gone = unlabeled(files, 5)
    hidden = [path.with_suffix(".gone") for path in gone]

    def move(old: list[Path], new: list[Path]) -> None:
        for path, elsewhere in zip(old, new, strict=True):
            path.rename(elsewhere)

    vanish = At(0, "score", partial(move, gone, hidden))
    pool = go(files, tmp_path / "run", vanish, At(1, "train", partial(move, hidden, gone)))
    go(files, tmp_path / "undisturbed")
    folder, scored = Folder(tmp_path / "run/cycle-001/score"), dict[str, float]()
    for file in passed(tmp_path / "run", 1).shards:
        table = shard_file.read_shard(folder, file.name).to_pydict()
        scored |= zip(table["id"], table["score.cod"], strict=True)

    assert (80, 3) == (len(pool.labels), pool.cycle)
    assert 5 == len(passed(tmp_path / "run", 0).bad)
    assert {} == passed(tmp_path / "run", 1).bad
    for path in gone:
        assert 0 < scored[str(path.relative_to(str(files.dataset.root)))] < 1


def test_a_pool_that_changed_is_another_run(files: Experiment, tmp_path: Path) -> None:
    """A resumed run would choose from other images than it began with (E10)."""
    stopped_at(files, tmp_path / "run", 1, "train")
    added = Path(str(files.dataset.root)) / "train/class-0/new.png"
    shutil.copy(added.with_name("000.png"), added)
    with pytest.raises(LockedError, match=r"holds another experiment .*: data: ") as refused:
        go(files, tmp_path / "run")

    assert 6 == refused.value.exit_code

    added.unlink()

    assert 80 == len(go(files, tmp_path / "run").labels)
