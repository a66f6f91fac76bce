"""Labels that exist before a run: taken whole, matched by id, or refused with all that is wrong."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayal
from rayal.cycle.first_labels import first_labels
from rayal.data.images import Decoding
from rayal.data.masks import decode
from rayal.data.store import Store
from rayal.errors import DataError, LockedError, UsageError
from rayal.experiment.experiment import Experiment
from tests.data.datasets.test_image_folder import plant
from tests.support import originals

CLASSES = ("cat", "dog")
PATHS = [f"{place}/{n}.png" for place in ("pool/a", "pool/b") for n in range(4)]
OPEN = {"initial": 0, "per_cycle": 2, "total": 4}


@pytest.fixture
def heap(tiny: Any, tmp_path: Path) -> Any:
    """`heap(file)`: an experiment on eight images that nobody has labeled, with first labels."""
    plant(tmp_path, *PATHS)

    def build(labeled: Path | str, **fields: Any) -> Experiment:
        dataset = {"name": "unlabeled_folder", "root": str(tmp_path), "test": None}
        made: Experiment = tiny(
            dataset={**dataset, "classes": CLASSES},
            scheme={"epochs": 1, "batch_size": 2},
            strategy="random",
            budget=OPEN,
            oracle="told",
            **{"labeled": str(labeled), **fields},
        )
        return made

    return build


def found(x: Experiment) -> dict[str, Any]:
    """The labels, which are free."""
    answers = first_labels(x, x.dataset.open())
    assert all(label.cost == 0 for label in answers.values())
    return {unit: label.value for unit, label in answers.items()}


def write(file: Path, **labels: str) -> Path:
    rows = [f"pool/{unit.replace('_', '/')}.png,{label}\n" for unit, label in labels.items()]
    file.write_text("".join(["id,label\n", *rows]))
    return file


def test_a_table(heap: Any, tmp_path: Path) -> None:
    """Labels that were paid already would be paid again."""
    x = heap(write(tmp_path / "labels.csv", b_2="dog", a_1="cat"))

    assert {"pool/b/2.png": 1, "pool/a/1.png": 0} == found(x)


def test_all_that_is_wrong_at_once(heap: Any, tmp_path: Path) -> None:
    """A label that was matched to a guess would be learned for ever."""
    file = tmp_path / "labels.csv"
    file.write_text(
        "id,label\npool/a/1.png,cat\n1.png,dog\npool/a/2.png,cow\n1E+05,cat\npool/a/1.png,dog\n"
    )
    with pytest.raises(DataError) as error:
        found(heap(file))
    told = str(error.value)

    assert "4 problems" in told and "none of it is used" in told
    assert "labels.csv row 3 ('1.png'): is not in the pool of unlabeled_folder; correct it" in told
    assert "row 4 ('pool/a/2.png'): class 'cow' is not in the list" in told
    assert "row 5 ('1E+05'): is not in the pool" in told
    assert "row 6 ('pool/a/1.png'): labeled 'dog' here and 'cat' in labels.csv row 2" in told


def test_too_few_to_train_on(heap: Any, tmp_path: Path) -> None:
    """The first training would end the run."""
    with pytest.raises(DataError, match="holds 1 label, too few to train on; add some"):
        found(heap(write(tmp_path / "labels.csv", a_1="cat")))
    assert 2 == len(found(heap(write(tmp_path / "labels.csv", a_1="cat", a_2="dog"))))


def test_an_image_that_cannot_be_decoded(heap: Any, tmp_path: Path) -> None:
    """A training would end at it."""
    (tmp_path / "pool/b/9.png").write_bytes(b"no image")
    x = heap(write(tmp_path / "labels.csv", b_9="cat", a_1="cat", a_2="dog"))
    with pytest.raises(DataError, match=r"row 2 \('pool/b/9.png'\): cannot be decoded: .*; leave"):
        found(x)
    assert 2 == len(found(heap(write(tmp_path / "labels.csv", a_1="cat", a_2="dog"))))


@pytest.mark.parametrize("as_folder", [False, True])
def test_copies_of_test_images(as_folder: bool, tiny: Any, heap: Any, tmp_path: Path) -> None:
    """A model would learn the images that judge it, though guards leave these out of the pool."""
    guards = {"test_images": "leave_out"}
    for name, path in (("cat", "a/0.png"), ("cat", "a/2.png"), ("dog", "b/1.png")):
        for root in ("test", "sorted"):
            (tmp_path / root / name / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "pool" / path, tmp_path / root / name / path)
    (tmp_path / "test/cat/a/2.png").unlink()
    first = {"a_0": "cat", "a_2": "cat", "a_3": "cat", "b_1": "dog"}
    labeled = tmp_path / "sorted" if as_folder else write(tmp_path / "labels.csv", **first)
    dataset = {"name": "unlabeled_folder", "root": str(tmp_path), "classes": CLASSES}
    x = heap(labeled, guards=guards)
    x = tiny(**{**{n: getattr(x, n) for n in Experiment.model_fields}, "dataset": dataset})
    with pytest.raises(DataError) as error:
        found(x)
    told = str(error.value)

    assert "2 problems" in told and "pool/a/2.png" not in told and "pool/a/3.png" not in told
    assert "'pool/a/0.png'): is a test image too, which guards.test_images never trains" in told
    assert "'pool/b/1.png'): is a test image too" in told
    if as_folder:
        shutil.copy(tmp_path / "pool/b/2.png", tmp_path / "sorted/dog/b/2.png")
        for name in ("cat/a/0.png", "dog/b/1.png"):
            (tmp_path / "sorted" / name).unlink()
    else:
        write(tmp_path / "labels.csv", a_2="cat", a_3="cat")
    assert 2 == len(found(x))


def test_masks_of_test_images(tiny: Any, tmp_path: Path) -> None:
    """As of labels, of masks."""
    x, _ = scenes(tiny, tmp_path)
    for n in range(4):
        draw(tmp_path, f"{n}.png")
    (tmp_path / "test/images").mkdir(parents=True)
    (tmp_path / "test/masks").mkdir()
    shutil.copy(tmp_path / "pool/1.jpg", tmp_path / "test/images/x.jpg")
    shutil.copy(tmp_path / "drawn/1.png", tmp_path / "test/masks/x.png")
    dataset = x.dataset.model_copy(update={"test": ("test",)})
    guards = x.guards.model_copy(update={"test_images": "leave_out"})
    x = x.model_copy(update={"dataset": dataset, "guards": guards})
    with pytest.raises(DataError, match="drawn/1.png: is a test image too, .*; leave it out$"):
        found(x)
    (tmp_path / "drawn/1.png").unlink()
    assert 3 == len(found(x))


def test_class_folders(heap: Any, tmp_path: Path) -> None:
    """Who has sorted some photographs would have to write a table."""
    for name, path in (("cat", "a/3.png"), ("dog", "b/0.png"), ("dog", "b/1.png")):
        (tmp_path / "sorted" / name / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "pool" / path, tmp_path / "sorted" / name / path)

    expected = {"pool/a/3.png": 0, "pool/b/0.png": 1, "pool/b/1.png": 1}
    assert expected == found(heap(tmp_path / "sorted"))


def test_class_folders_inside_the_pool(tiny: Any, heap: Any, tmp_path: Path) -> None:
    """Photographs that were moved into class folders are in the pool there, whatever their name."""
    for name in ("cat", "dog"):
        plant(tmp_path / "pool/sorted", f"{name}/0.png", f"{name}/1.png")
    x = heap(tmp_path / "pool/sorted")

    assert {f"pool/sorted/{name}/{n}.png": c for c, name in enumerate(CLASSES) for n in (0, 1)} == (
        found(x)
    )


def test_class_folders_that_say_nothing_sure(heap: Any, tmp_path: Path) -> None:
    """Of two images with one name the first would be labeled."""
    plant(tmp_path / "sorted", "cat/3.png", "dog/new.png", "5.png")
    with pytest.raises(DataError) as error:
        found(heap(tmp_path / "sorted"))
    told = str(error.value)

    assert "3 problems" in told
    assert "sorted/cat/3.png: 2 images of the pool are called like it, 'pool/a/3.png'" in told
    assert "sorted/dog/new.png: no image of the pool is called like it; take it away" in told
    assert "sorted/5.png: lies in no class folder; move it into one" in told
    shutil.rmtree(tmp_path / "sorted")
    plant(tmp_path / "sorted", "cow/a/3.png", "dog/b/3.png")
    with pytest.raises(DataError, match="class 'cow' is not in the list; choose one of: cat, dog"):
        found(heap(tmp_path / "sorted"))
    (tmp_path / "sorted/cow").rename(tmp_path / "sorted/cat")
    assert 2 == len(found(heap(tmp_path / "sorted")))


@pytest.mark.parametrize("name", ["nowhere", "labels.txt"])
def test_what_is_no_file_of_labels(name: str, heap: Any, tmp_path: Path) -> None:
    """Nothing would be learned."""
    with pytest.raises(DataError, match="neither a .csv or .parquet file nor a folder of class"):
        found(heap(tmp_path / name))
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="holds no class folders; add some, or set labeled: null"):
        found(heap(tmp_path / name))


def scenes(tiny: Any, root: Path) -> tuple[Experiment, Store]:
    """Four images that people draw masks of, two of which have some."""
    originals.plant(root, [f"pool/{n}.jpg" for n in range(4)])
    dataset = {"name": "unlabeled_scenes", "root": str(root), "test": (), "classes": ("a", "b")}
    x = tiny(
        dataset=dataset,
        task="segmentation",
        model="small_segmenter",
        scheme={"steps": 1, "batch_size": 2},
        strategy="random",
        budget=OPEN,
        oracle="told",
        labeled=str(root / "drawn"),
    )
    return x, x.dataset.open()


def draw(root: Path, name: str, shape: tuple[int, int] = (20, 24), top: int = 2) -> np.ndarray:
    mask = np.random.default_rng(0).integers(0, top, shape, np.uint8)
    (root / "drawn").mkdir(exist_ok=True)
    (root / "drawn" / name).write_bytes(originals.encoded(mask))
    return mask


def test_masks(tiny: Any, tmp_path: Path) -> None:
    """Masks would be of other images, or of another size."""
    x, store = scenes(tiny, tmp_path)
    masks = {f"pool/{n}.jpg": draw(tmp_path, f"{n}.png") for n in (1, 3)}
    labels = found(x)

    assert [*masks] == [*labels]
    assert store.card.masks is not None
    for unit, mask in masks.items():
        read = decode(labels[unit], store.card.masks, store.card.decoding or Decoding())
        np.testing.assert_array_equal(mask, read)


def test_masks_with_faults(tiny: Any, tmp_path: Path) -> None:
    """Half of the faults would be found in the next attempt."""
    x, _ = scenes(tiny, tmp_path)
    draw(tmp_path, "0.png", (10, 10))
    draw(tmp_path, "1.png", top=9)
    draw(tmp_path, "7.png")
    draw(tmp_path, "2.png")
    draw(tmp_path, "2.bmp")
    with pytest.raises(DataError) as error:
        found(x)
    told = str(error.value)

    assert "4 problems" in told
    assert "'pool/0.jpg': " in told and "is 10x10 (HxW), its image 20x24" in told
    assert "'pool/1.jpg': " in told and "are no classes" in told
    assert "7.png: no image of the pool is called like it" in told
    assert "'pool/2.jpg' has another mask" in told and "leave one of them" in told
    for name in ("0.png", "1.png", "7.png", "2.bmp"):
        (tmp_path / "drawn" / name).unlink()
    draw(tmp_path, "3.png")
    assert ["pool/2.jpg", "pool/3.jpg"] == [*found(x)]


@pytest.fixture
def simulated(tiny: Any, tmp_path: Path) -> Any:
    """`simulated(labels)`: an experiment on digits, with these labels to begin with."""

    def build(labels: dict[str, int], **fields: Any) -> Experiment:
        rows = "".join(f"{unit},{label}\n" for unit, label in labels.items())
        (tmp_path / "labels.csv").write_text(f"id,label\n{rows}")
        made: Experiment = tiny(
            strategy="margin",
            scheme={"epochs": 2, "batch_size": 16},
            budget={"initial": 0, "per_cycle": 10, "total": 20},
            labeled=str(tmp_path / "labels.csv"),
            **fields,
        )
        return made

    return build


def test_a_run_begins_with_them(simulated: Any, tiny: Any, tmp_path: Path) -> None:
    """They would be paid, or bought again; the curve would begin at another place."""
    truth = tiny().dataset.open().labels("pool")
    first = dict([*truth.items()][100:130])
    wrong = (
        {**first, "digit-0100": (int(first["digit-0100"]) + 1) % 10}
        if "digit-0100" in first
        else first
    )
    x = simulated(wrong)
    done = rayal.run(x, tmp_path / "run")
    table = done.labels()

    assert wrong == dict(zip(table["id"][:30], table["label"][:30], strict=True))
    assert [-1] * 30 + [0] * 10 + [1] * 10 == table["cycle"].tolist()
    assert ([30, 40, 50], [0, 10, 20]) == (
        done.curve()["labels"].tolist(),
        done.curve()["cost"].tolist(),
    )
    assert done.complete and 50 == len({*table["id"]})
    assert [30, 40, 50] == [cycle.labels for cycle in rayal.plan(x, probe=False).cycles]


def test_a_file_that_changed_is_noticed(simulated: Any, tiny: Any, tmp_path: Path) -> None:
    """The picks of a run would follow from labels that are in no file any more."""
    truth = [*tiny().dataset.open().labels("pool").items()]
    rayal.run(simulated(dict(truth[:20])), tmp_path / "run")
    with pytest.raises(LockedError, match="labeled"):
        rayal.run(simulated(dict(truth[:21])), tmp_path / "run")
    assert rayal.run(simulated(dict(truth[:20])), tmp_path / "run").complete


def test_what_a_system_leaves_in_a_folder_changes_nothing(heap: Any, tmp_path: Path) -> None:
    """A look into the folder with a file manager would end the run; a link to a folder of images
    that are read would be no part of it."""
    plant(tmp_path / "sorted", "cat/a/3.png", "dog/b/0.png")
    plant(tmp_path / "elsewhere", "b/1.png")
    (tmp_path / "sorted/dog/more").symlink_to(tmp_path / "elsewhere/b")
    x = heap(tmp_path / "sorted")
    first = x.identity()
    (tmp_path / "sorted/.DS_Store").write_bytes(b"\0")
    (tmp_path / "sorted/cat/Thumbs.db").write_bytes(b"\0")
    (tmp_path / "sorted/__MACOSX").mkdir()
    plant(tmp_path / "sorted", "__MACOSX/0.png")

    assert first == x.identity()
    with (tmp_path / "elsewhere/b/1.png").open("ab") as file:
        file.write(b"\0")
    assert first != x.identity()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"budget": {"initial": 5, "per_cycle": 5, "total": 20}}, "5, but the first labels are"),
        ({"budget": {**OPEN, "balanced": True}}, "true, but the first labels are those in"),
        ({"labeled": None}, "0, but a model needs labels to begin with; raise it, or set labeled"),
    ],
)
def test_two_first_sets_or_none(fields: Any, told: str, simulated: Any, tiny: Any) -> None:
    """Which of them is trained on would be a guess."""
    x = simulated({"digit-0001": 1})
    values = {name: getattr(x, name) for name in Experiment.model_fields}
    with pytest.raises(UsageError, match=told):
        Experiment(**{**values, **fields})
    tiny(labeled=None)


def test_who_asks_begins_with_them_too(heap: Any, tmp_path: Path) -> None:
    """The learner would ask for labels that are there."""
    x = heap(write(tmp_path / "labels.csv", a_1="cat", a_2="dog", b_0="dog"))
    for _ in range(2):  # the second time as after a crash
        with rayal.ActiveLearner(x, tmp_path / "run") as learner:
            assert {"pool/a/1.png": "cat", "pool/a/2.png": "dog", "pool/b/0.png": "dog"} == (
                learner.labels
            )
            asked = learner.ask(2)
            assert not {*asked} & {*learner.labels} and 2 == len(asked)
    with rayal.ActiveLearner(x, tmp_path / "run") as learner:
        learner.tell(dict.fromkeys(asked, "cat"))
        assert {"new_accuracy", "fit_accuracy"} == {*learner.learn()}
        assert [0, 2] == learner.curve()["cost"].tolist()


def test_classes_without_a_first_label_are_told(
    simulated: Any, tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A class that the first model has never seen is found late."""
    truth = tiny().dataset.open().labels("pool")
    twos = {unit: 2 for unit, label in truth.items() if label == 2}
    rayal.plan(simulated(twos), probe=False)

    assert "has no image of '0', '1', '3'" in caplog.text
