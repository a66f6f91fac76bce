"""Datasets, images and their options: what a message tells to do is done, and then it goes."""

import base64
import io
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rayal.data import uri
from rayal.data.datasets.digits import Digits
from rayal.data.datasets.image_folder import ImageFolder
from rayal.data.datasets.parquet import Parquet
from rayal.data.images import Decoding
from rayal.data.masks import BadMask, MaskDecoding, encode, read_mask
from rayal.data.pool.census import check_ids
from rayal.data.pool.source import open_pool
from rayal.data.prepare import prepare
from rayal.data.source import Source, Units, numbered
from rayal.data.store import Store
from rayal.data.tasks.classification import Classification
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import DataError, UsageError
from rayal.storage.folder import Folder
from tests.data.datasets.test_image_folder import plant
from tests.data.datasets.test_parquet import png, write
from tests.data.pool.test_source import spec
from tests.experiment.test_experiment import experiment, problems
from tests.storage.test_folder import ordinary_user
from tests.support.doubles import scheme_for


@pytest.mark.parametrize(
    ("wrong", "message", "right"),
    [
        ({"resize": 9}, "set size", {"resize": 9, "size": 8}),
        ({"size": 8, "resize": 7}, "raise resize", {"size": 8, "resize": 8}),
        (
            {"size": 8, "shape": (8, 8), "canvas": (8, 8)},
            "set two of them to null",
            {"size": 8, "shape": None, "canvas": None},
        ),
        ({"reduced": True}, "set size or shape", {"reduced": True, "shape": (8, 8)}),
    ],
)
def test_options_of_decoding(wrong: dict[str, Any], message: str, right: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"; {message}"):
        Decoding(**wrong)
    Decoding(**right)


def test_originals_of_a_bucket(tmp_path: Path) -> None:
    """Mounted or copied they are a folder; a column of a Parquet file may hold their addresses."""
    with pytest.raises(UsageError, match="mount the storage, copy them, or use dataset parq"):
        ImageFolder(root="s3://bucket/x")
    plant(tmp_path, "train/x/1.png", "test/x/2.png")
    assert 1 == ImageFolder(root=str(tmp_path), store=str(tmp_path / "a")).open().card.pool
    for split in ("train", "test"):
        address = [f"s3://bucket/{split}.png"]
        write(tmp_path / f"{split}.parquet", id=[split], image=address, label=[0])
    unseen = {"encoding": "uri", "verify": False, "size": 8, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    names = {"pool": ("train.parquet",), "test": ("test.parquet",)}
    store = Parquet(root=str(tmp_path), store=str(tmp_path / "b"), **names, **unseen).open()
    assert ["train"] == store.pool.ids()


def test_a_class_folder_is_filled(tmp_path: Path) -> None:
    """The other of its two ways out: some images are added; and an image that lies in none."""
    plant(tmp_path, "train/dog/1.png", "test/dog/2.png", "test/cat/3.png")
    (tmp_path / "train/cat").mkdir()
    dataset = ImageFolder(root=str(tmp_path), store=str(tmp_path / "stores"))
    with pytest.raises(DataError, match="hold no images; add some, or take the folders away"):
        dataset.open()
    plant(tmp_path, "train/cat/4.png")
    assert 2 == dataset.open().card.pool

    plant(tmp_path, "train/5.png")
    with pytest.raises(DataError, match="lies in no class folder; move it into one, or away"):
        dataset.open()
    (tmp_path / "train/5.png").rename(tmp_path / "train/dog/5.png")
    assert 3 == dataset.open().card.pool


def test_classes_are_added(tmp_path: Path) -> None:
    """A folder that is not among the classes of the dataset."""
    plant(tmp_path, "train/dog/1.png", "train/cat/2.png", "test/dog/3.png")
    given = {"root": str(tmp_path), "store": str(tmp_path / "stores")}
    with pytest.raises(DataError, match="move them away, or add them to dataset.classes"):
        ImageFolder(**given, classes=("dog",)).open()
    assert 2 == ImageFolder(**given, classes=("dog", "cat")).open().card.pool


def test_an_address_that_is_allowed(tmp_path: Path) -> None:
    """Absolute paths, and URLs of each of the storages that the message names."""
    with pytest.raises(DataError, match="is refused; use an absolute path or ") as told:
        uri.checked("http://x/a.png")
    for start in str(told.value).partition("an absolute path or ")[2].split(", "):
        assert f"{start}x/a.png" == uri.checked(f"{start}x/a.png")
    assert "/x/a.png" == uri.checked("/x/a.png")


def test_images_as_text_are_decoded_into_bytes(tmp_path: Path) -> None:
    """A column of base64, written again as binary."""
    encoded = base64.b64encode(png(1, 16) + bytes(99)).decode()
    names = {"pool": ("train.parquet",), "test": ("test.parquet",)}
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", id=[split], image=[encoded], label=[0])
    dataset = Parquet(root=str(tmp_path), store=str(tmp_path / "stores"), **names)
    with pytest.raises(DataError, match="write the column again as binary, with the decoded bytes"):
        dataset.open()
    for split in ("train", "test"):
        image = [base64.b64decode(encoded)]
        write(tmp_path / f"{split}.parquet", id=[split], image=image, label=[0])
    assert {} == dataset.open().card.bad


def test_a_link_is_copied_or_followed(tmp_path: Path) -> None:
    """Both ways out; the dataset's own option and that of a pool."""
    plant(tmp_path / "root", "train/x/1.png", "test/x/2.png")
    plant(tmp_path / "far", "3.png")
    link = tmp_path / "root/train/x/3.png"
    link.symlink_to(tmp_path / "far/3.png")
    given = {"root": str(tmp_path / "root"), "store": str(tmp_path / "stores")}
    with pytest.raises(DataError, match="copy the file there, or set dataset.follow_links: true"):
        ImageFolder(**given).open()
    assert 2 == ImageFolder(**given, follow_links=True).open().card.pool

    link.unlink()
    link.write_bytes((tmp_path / "far/3.png").read_bytes())
    assert 2 == ImageFolder(**given).open().card.pool


def test_a_path_that_leads_out_of_a_pool(tmp_path: Path) -> None:
    """One bad image among good ones, until its path is absolute."""
    plant(tmp_path, "1.png", "pool/2.png")
    write(tmp_path / "pool/a.parquet", id=["a", "b"], image=["../1.png", "2.png"])

    def bad() -> dict[str, str]:
        file = str(tmp_path / "pool/a.parquet")
        listing = Folder(tmp_path / "listing")
        pool = open_pool(file, decoding=Decoding(size=4), spec=spec(), listing=listing)
        (shard,) = pool.shards(9)
        return pool.images.decode(pool.images.read(shard)).bad

    assert bad()["a"].endswith("; make it absolute")
    image = [str(tmp_path / "1.png"), "2.png"]
    write(tmp_path / "pool/a.parquet", id=["a", "b"], image=image)
    assert {} == bad()


def test_what_a_column_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are too large, written again as images may be."""
    monkeypatch.setattr(uri, "MAX_BYTES", 1000)
    file = tmp_path / "a.parquet"
    asked = {"decoding": Decoding(size=4), "spec": spec(), "listing": Folder(tmp_path / "listing")}
    noise = np.random.default_rng(0).bytes(2000)
    write(file, id=["a"], image=[noise])
    with pytest.raises(DataError, match="an image may take 1,000: write it again"):
        open_pool(str(file), **asked)
    write(file, id=["a"], image=[png(1)])
    assert 1 == open_pool(str(file), **asked).rows


def toy(out: Path, pool: Units, test: Units, **options: Any) -> Store:
    """A prepared dataset of two classes."""
    out.mkdir()
    source = Source(["x", "y"], pool, test, "", "", **options)
    prepare(source, out, "toy", "", None)
    return Store(str(out))


def test_an_encoding_that_fits(tmp_path: Path) -> None:
    """Images that are no files cannot stay where they are; a canvas cannot be raw."""
    given = numbered("train", [0, 1], [png(1), png(2)]), numbered("test", [0], [png(3)])
    with pytest.raises(UsageError, match="set encoding to raw or bytes"):
        toy(tmp_path / "a", *given, encoding="uri")
    with pytest.raises(UsageError, match="set encoding: bytes"):
        toy(tmp_path / "b", *given, encoding="raw", decoding=Decoding(canvas=(8, 8)))
    toy(tmp_path / "c", *given, encoding="raw")
    toy(tmp_path / "d", *given, encoding="bytes", decoding=Decoding(canvas=(8, 8)))


def test_a_split_is_filled(tmp_path: Path) -> None:
    """Of a dataset whose files hold none."""
    empty, one = numbered("train", [], []), numbered("train", [0], [png(1)])
    test = numbered("test", [0], [png(3)])
    with pytest.raises(DataError, match="the pool has no images; check the dataset's files"):
        toy(tmp_path / "a", empty, test)
    assert 1 == toy(tmp_path / "b", one, test).card.pool


def test_ids_that_are_renamed(tmp_path: Path) -> None:
    """Neither twice, nor something that is no Unicode."""
    test = numbered("test", [0], [png(3)])
    for ids, message in ((["a", "\udcff"], "rename it"), (["a", "a"], "make them unique")):
        with pytest.raises(DataError, match=f"; {message}$"):
            toy(tmp_path / "wrong", Units(ids, [0, 1], [png(1), png(2)]), test)
        (tmp_path / "wrong").rmdir()
    assert 2 == toy(tmp_path / "b", Units(["a", "b"], [0, 1], [png(1), png(2)]), test).card.pool


def test_a_part_of_the_task() -> None:
    """One of those that the message gives, or the other task."""
    (said,) = problems(strategy="random_polygon").values()
    offered = said.partition("; choose one of: ")[2].split(", ")[:3]

    taken = [experiment(strategy=name, scheme=scheme_for(name)).strategy for name in offered]

    assert offered == [each.part_name() for each in taken]


def test_a_network_that_diverged() -> None:
    """Trained with a lower learning rate it says numbers."""
    dense = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)
    flat = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    for task, (logits, labels) in ((Segmentation(), dense), (Classification(), flat)):
        diverged = task.evaluator(2)
        diverged.update(logits + descended(lr=9.0), labels)
        with pytest.raises(DataError, match="its training diverged; lower scheme.lr$"):
            diverged.state()
        judged = task.evaluator(2)
        judged.update(logits + descended(lr=0.1), labels)
        assert 1.0 == judged.compute(judged.state())["accuracy"]


def descended(lr: float) -> torch.Tensor:
    """A weight after 500 steps of gradient descent on its square."""
    weight = torch.ones(())
    for _ in range(500):
        weight = weight - lr * 2 * weight
    return weight


def test_a_dataset_that_cannot_be_opened_by_its_name(tmp_path: Path) -> None:
    """Its files, or the folder of its prepared store."""
    asked = {"decoding": Decoding(size=4), "spec": spec(), "listing": Folder(tmp_path / "listing")}
    names = {"pool": ("train.parquet",), "test": ("test.parquet",)}
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", id=[split], image=[png(1)], label=[0])
    with pytest.raises(UsageError, match="give its files, or the folder of its prepared store"):
        open_pool("parquet", **asked)
    store = Parquet(root=str(tmp_path), store=str(tmp_path / "stores"), **names).open()
    for right in (f"{tmp_path}/train.parquet", store.url):
        assert 1 == open_pool(right, **asked).rows


def test_a_pool_that_is_named(tmp_path: Path) -> None:
    """A file of another kind, a folder without images."""
    asked = {"decoding": Decoding(size=4), "spec": spec(), "listing": Folder(tmp_path / "listing")}
    (tmp_path / "text.csv").write_text("id")
    with pytest.raises(UsageError, match="names no .parquet file; give such files, or a folder"):
        open_pool(f"{tmp_path}/text.csv", **asked)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no images .*; name another"):
        open_pool(f"{tmp_path}/nothing", **asked)
    write(tmp_path / "b.parquet", id=["a"], image=[png(1)])
    assert 1 == open_pool(f"{tmp_path}/b.parquet", **asked).rows
    plant(tmp_path / "images", "1.png", side=4)
    assert 1 == open_pool(f"{tmp_path}/images", **asked).rows


def test_statistics_of_both_kinds() -> None:
    with pytest.raises(UsageError, match="mean and std belong together; set both or neither"):
        Digits(mean=(0.5,))
    Digits(mean=(0.5,), std=(0.5,))
    Digits()


def test_originals_that_may_be_read() -> None:
    """After their mode was changed, or from a copy."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        root, copy = Path(place, "root"), Path(place, "copy")
        for folder in (root, copy):
            plant(folder, "train/x/1.png", "test/x/2.png")
        stores = Path(place, "stores")
        stores.mkdir(mode=0o777)
        os.chmod(stores, 0o777)
        os.chmod(root / "train/x/1.png", 0o000)
        given = {"root": str(root), "store": str(stores)}
        with ordinary_user():
            with pytest.raises(
                DataError, match="denied; make it readable, or set dataset.root to a"
            ):
                ImageFolder(**given).open()
            assert 1 == ImageFolder(**{**given, "root": str(copy)}).open().card.pool
        os.chmod(root / "train/x/1.png", 0o644)
        with ordinary_user():
            assert 1 == ImageFolder(**given).open().card.pool


def test_masks_are_of_another_task(tmp_path: Path) -> None:
    """Labels of an image's pixels, where the task is the class of images."""
    image = np.zeros((1, 3, 4, 4), np.uint8)
    card = toy(tmp_path / "a", numbered("train", [0], image), numbered("test", [1], image)).card
    mask = {"train-00000": encode(np.zeros((4, 4), np.uint8))}
    with pytest.raises(DataError, match="is no class index 0..1; set task: segmentation for masks"):
        Classification().targets(mask, card)
    dense = card.model_copy(update={"masks": MaskDecoding(values={0: 0, 1: 1})})
    assert (1, 4, 4) == Segmentation().targets(mask, dense).shape


def test_values_that_are_scaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """12-bit values in 16-bit files are nearly black, and by 16 larger they are not."""
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    for name, factor in (("a", 1), ("b", 16)):
        caplog.clear()
        buffer = io.BytesIO()
        Image.fromarray(values * factor).save(buffer, "PNG")
        units = (numbered(split, [0], [buffer.getvalue()]) for split in ("train", "test"))
        toy(tmp_path / name, *units, decoding=Decoding(channels=1))
        assert (factor == 1) == ("; scale those by 16, or all looks nearly black" in caplog.text)


def test_a_mask_that_is_converted() -> None:
    """Of colours no class is known; grey values and palettes are numbers."""
    masks = MaskDecoding(values={0: 0, 1: 1})
    grey = Image.new("L", (4, 4), 1)
    for mode in ("RGB", "P", "L"):
        buffer = io.BytesIO()
        (grey if mode != "RGB" else grey.convert("RGB")).save(buffer, "PNG")
        refused = pytest.raises(BadMask, match="; convert it to one whole number .grey or palette")
        with refused if mode == "RGB" else nullcontext():
            assert (read_mask(buffer.getvalue(), masks, Decoding()) == 1).all()


def test_arrays_are_turned(tmp_path: Path) -> None:
    """As the message says, with the shape that it names."""
    image = Image.new("RGB", (8, 8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    test = numbered("test", [0], [np.zeros((3, 8, 8), np.uint8)])
    array = np.asarray(image)
    wrongs: list[Any] = [image, array.astype(np.float32).transpose(2, 0, 1), array]
    for wrong in wrongs:
        with pytest.raises(DataError, match="give uint8 arrays C H W"):
            toy(tmp_path / "a", numbered("train", [0], [wrong]), test)
        (tmp_path / "a").rmdir()
    rights: list[Any] = [array.transpose(2, 0, 1), buffer.getvalue(), str(tmp_path / "a.png")]
    for number, right in enumerate(rights):
        toy(
            tmp_path / f"b{number}", numbered("train", [0], [right]), numbered("test", [0], [right])
        )


def test_a_pool_without_a_column_of_ids(tmp_path: Path) -> None:
    """The other way out where ids are used twice: rows are numbered."""
    asked = {"decoding": Decoding(size=4), "spec": spec(), "listing": Folder(tmp_path / "listing")}
    write(tmp_path / "a.parquet", id=["a", "a"], image=[png(1), png(2)])
    with pytest.raises(DataError, match="; make them unique, or do without a column of ids$"):
        check_ids(open_pool(f"{tmp_path}/a.parquet", **asked))
    pool = open_pool(f"{tmp_path}/a.parquet", id=None, **asked)
    check_ids(pool)
    assert 2 == pool.rows
