"""ImageNet by reference: listed, neither copied nor decoded."""

import io
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rayal.cycle.first_units import first_units
from rayal.data.datasets.imagenet import Imagenet
from rayal.engine.local import LocalEngine
from rayal.errors import DataError
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run

WNIDS = ("n01440764", "n02012849", "n03126707")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes; two images each to train on, one to validate."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 280), (255, 0, 0)).save(buffer, "JPEG")
    for number, wnid in enumerate(WNIDS):
        for name in (f"train/{wnid}/{wnid}_1.JPEG", f"train/{wnid}/{wnid}_2.JPEG"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(buffer.getvalue())
        (tmp_path / "val" / wnid).mkdir(parents=True)
        (tmp_path / f"val/{wnid}/val_{number}.JPEG").write_bytes(buffer.getvalue())
    return tmp_path


def test_images_stay_where_they_are(root: Path) -> None:
    """Copying 140 GB before the first run would cost a day and a disk."""
    store = Imagenet(root=str(root)).open()
    decoded = store.pool.decode(store.pool.take([f"train/{WNIDS[1]}/{WNIDS[1]}_2.JPEG"]))

    assert (6, 3, "uri", WNIDS) == (
        store.card.pool,
        store.card.test,
        store.card.encoding,
        store.card.classes,
    )
    assert (1, 3, 224, 224) == decoded.images.shape
    assert (0.485, 0.456, 0.406) == store.card.image.mean
    assert [0, 1, 2] == list(store.labels("test").values())


def test_lost_and_damaged_images_are_found_while_scoring(root: Path) -> None:
    """They are the price of not decoding while preparing; each is one bad image, by name."""
    store = Imagenet(root=str(root)).open()
    lost, damaged, *_ = ids = store.pool.ids()
    (root / lost).unlink()
    (root / damaged).write_bytes((root / damaged).read_bytes()[:-300])
    decoded = store.pool.decode(store.pool.take(ids))

    assert ids[2:] == decoded.ids
    assert f"missing: {root / lost}" == decoded.bad[lost]
    assert "truncated" in decoded.bad[damaged]


def test_verify_decodes_while_preparing(root: Path) -> None:
    """Then bad images, sizes and statistics are known before the first cycle."""
    (root / f"train/{WNIDS[0]}/{WNIDS[0]}_1.JPEG").write_bytes(b"text")
    card = Imagenet(root=str(root), verify=True, mean=None, std=None).open().card

    assert [f"train/{WNIDS[0]}/{WNIDS[0]}_1.JPEG"] == list(card.bad)
    assert {"280x300": 8} == card.sizes
    assert pytest.approx((254 / 255, 0, 0), abs=0.01) == card.image.mean


def test_classes_have_readable_names(root: Path) -> None:
    """meta.bin of torchvision; wnids keep apart the bird and the machine called crane."""
    names = {WNIDS[0]: ("tench", "Tinca tinca"), WNIDS[1]: ("crane",), WNIDS[2]: ("crane",)}
    torch.save((names, list(WNIDS)), root / "meta.bin")

    assert (f"{WNIDS[0]} tench", f"{WNIDS[1]} crane", f"{WNIDS[2]} crane") == (
        Imagenet(root=str(root)).open().card.classes
    )


def flatten(root: Path) -> None:
    """The validation images as in the official archive: in one folder, unsorted."""
    for number, wnid in enumerate(reversed(WNIDS), 1):
        (image,) = (root / "val" / wnid).iterdir()
        image.rename(root / f"val/ILSVRC2012_val_{number:08d}.JPEG")
        (root / "val" / wnid).rmdir()


SOLUTION = "ImageId,PredictionString\n" + "".join(
    f"ILSVRC2012_val_{number:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8 \n"
    for number, wnid in [(3, WNIDS[0]), (1, WNIDS[2]), (2, WNIDS[1])]
)


def test_the_validation_set_of_kaggle(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody should have to sort 50,000 files into folders first."""
    kaggle = tmp_path_factory.mktemp("kaggle")
    flatten(root)
    (kaggle / "ILSVRC/Data").mkdir(parents=True)
    root.rename(kaggle / "ILSVRC/Data/CLS-LOC")
    (kaggle / "LOC_val_solution.csv").write_text(SOLUTION)
    names = [f"{wnid} {name}, other\n" for wnid, name in zip(WNIDS, "abc", strict=True)]
    (kaggle / "LOC_synset_mapping.txt").write_text("".join(names))
    folder = "ILSVRC/Data/CLS-LOC"
    store = Imagenet(root=str(kaggle), pool=f"{folder}/train", test=f"{folder}/val").open()

    assert [2, 1, 0] == list(store.labels("test").values())
    assert tuple(f"{wnid} {name}" for wnid, name in zip(WNIDS, "abc", strict=True)) == (
        store.card.classes
    )
    assert 3 == len(store.test.decode(store.test.take(store.test.ids())).ids)


def test_the_validation_set_of_the_devkit(root: Path) -> None:
    """meta.bin lists the wnids by the numbers in the names of the images."""
    flatten(root)
    names = {wnid: (wnid, "other") for wnid in WNIDS}
    torch.save((names, [WNIDS[2], WNIDS[1], WNIDS[0]]), root / "meta.bin")

    assert [2, 1, 0] == list(Imagenet(root=str(root)).open().labels("test").values())


def test_a_flat_validation_set_needs_a_table(root: Path) -> None:
    """And one that knows every image: a guess would be an accuracy of something else."""
    flatten(root)
    with pytest.raises(DataError, match="no class folders; put LOC_val_solution.csv of Kaggle or"):
        Imagenet(root=str(root)).open()

    lines = SOLUTION.splitlines(keepends=True)
    (root / "LOC_val_solution.csv").write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="val_00000002 has; restore the table, or remove the image"):
        Imagenet(root=str(root)).open()
    (root / "LOC_val_solution.csv").write_text(SOLUTION)
    assert 3 == Imagenet(root=str(root)).open().card.test
    (root / "LOC_val_solution.csv").write_text("".join(lines[:-1]))
    (root / "val/ILSVRC2012_val_00000002.JPEG").unlink()
    assert 2 == Imagenet(root=str(root), classes=WNIDS).open().card.test


def test_a_corrected_table_is_another_dataset(root: Path) -> None:
    """Its size alone stays the same when two wnids are swapped."""
    flatten(root)
    (root / "LOC_val_solution.csv").write_text(SOLUTION)
    before = Imagenet(root=str(root)).open()
    (root / "LOC_val_solution.csv").write_text(
        SOLUTION.replace("01,", "0x,").replace("03,", "01,").replace("0x,", "03,")
    )

    assert before.labels("test") != Imagenet(root=str(root)).open().labels("test")


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("LOC_val_solution.csv", b"text\n1", "solution.csv is not .* of Kaggle: line 2 has"),
        ("LOC_val_solution.csv", b"ImageId,PredictionString\nx,\n", "line 2 has no ImageId or"),
        ("LOC_val_solution.csv", b"ImageId,PredictionString\nx\n", "line 2 has no ImageId or"),
        ("LOC_val_solution.csv", b"\xff\xfe", "LOC_val_solution.csv is not .* of Kaggle: 'utf-8'"),
        ("LOC_synset_mapping.txt", b"", "LOC_synset_mapping.txt is not .*: expected lines such"),
        ("LOC_synset_mapping.txt", b"n01440764", "mapping.txt is not .*: expected lines such as"),
        ("LOC_synset_mapping.txt", b"n01440764 a\n", "not name 2 of the classes, .*'n02012849'"),
    ],
)
def test_damaged_tables_are_named(root: Path, table: str, content: bytes, message: str) -> None:
    """A download cut short would otherwise be a class that nothing belongs to."""
    flatten(root)
    (root / "LOC_val_solution.csv").write_text(SOLUTION)
    (root / table).write_bytes(content)
    with pytest.raises(DataError, match=f"{message}.*; (remove it, or make it anew|restore or re)"):
        Imagenet(root=str(root)).open()
    (root / table).unlink()
    if table == "LOC_val_solution.csv":
        (root / table).write_text(SOLUTION)
    assert 3 == Imagenet(root=str(root)).open().card.test
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} a\n" for wnid in WNIDS))
    assert 3 == Imagenet(root=str(root)).open().card.test


@pytest.mark.parametrize("content", [b"", b"text", Path])
def test_other_class_lists_are_refused(root: Path, content: object) -> None:
    """The file is read with weights_only: nothing in it is executed."""
    if isinstance(content, bytes):
        (root / "meta.bin").write_bytes(content)
    else:
        torch.save((content, content), root / "meta.bin")
    with pytest.raises(DataError, match="meta.bin is not the class list"):
        Imagenet(root=str(root), limit_pool=5).open()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three classes of noise in three colours and several sizes; 12 to train on, 3 to validate."""
    rng = np.random.default_rng(0)
    for channel, wnid in enumerate(WNIDS):
        for split, count in (("train", 12), ("val", 3)):
            (tmp_path / split / wnid).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 80, (int(rng.integers(20, 60)), 40, 3), np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(tmp_path / f"{split}/{wnid}/{split}_{number}.JPEG")
    return tmp_path


def experiment(root: Path, resident_bytes: int) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "imagenet",
            "dataset": {"name": "imagenet", "root": str(root), "size": 16, "resize": 18},
            "model": {"name": "resnet18", "width": 4},
            "scheme": {
                "name": "supervised",
                "epochs": 2,
                "batch_size": 6,
                "augment": {"flip": True, "crop": 2},
            },
            "strategy": "entropy_gradnorm",
            "budget": {"initial": 12, "per_cycle": 6, "total": 18},
            "compute": {
                "engine": "local",
                "device": "cpu",
                "cpus_per_worker": 1,
                "resident_bytes": resident_bytes,
            },
            "tracking": "none",
        }
    )


def run(x: Experiment, out: Path) -> None:
    with start_run(x, str(out)) as opened:
        opened.run(lambda: closing(LocalEngine(x.compute)))


def damage(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-200])


def ends(out: Path) -> list[bytes]:
    """What the last training ended with and what was chosen for it."""
    files = ("cycle-000/select/chosen.csv", "cycle-001/train/weights.safetensors")
    return [(out / file).read_bytes() for file in files]


def test_a_run_by_reference(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Images decoded again in every epoch, ahead of their use, would be others than those that
    stay in memory; or a damaged one among the candidates would end the run."""
    x, folder = experiment(photographs, 0), tmp_path_factory.mktemp("runs")
    labeled = first_units(x, x.dataset.open())
    lost = next(unit for unit in x.dataset.open().pool.ids() if unit not in labeled)
    damage(photographs / lost)
    run(x, folder / "streamed")
    run(experiment(photographs, 2**20), folder / "resident")

    assert ends(folder / "streamed") == ends(folder / "resident")
    assert [lost] == list(
        Folder(str(folder / "streamed/cycle-000/score")).read_json("done.json")["result"]["bad"]
    )


def test_a_damaged_image_ends_a_training_with_its_name(
    photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One of 128,000 that nobody looked at before; a training without it would be another."""
    x = experiment(photographs, 0)
    lost = first_units(x, x.dataset.open())[3]
    damage(photographs / lost)
    with pytest.raises(DataError, match=f"training image '{lost}' cannot be decoded: .*mend"):
        run(x, tmp_path_factory.mktemp("runs") / "run")
