"""A store holds what its source said, or there is none."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.data import picture, store_writer
from rayal.data import prepare as module
from rayal.data.card import Card, SplitName
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, MaskDecoding, arrange, decode
from rayal.data.prepare import prepare
from rayal.data.source import Source, Units, numbered
from rayal.data.store import Store
from rayal.data.survey import Survey, look
from rayal.errors import DataError, UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
TEST = numbered("test", [1], IMAGES[5:])


def png(height: int, width: int, value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def source(pool: Units, test: Units = TEST, **options: Any) -> Source:
    return Source(["cat", "dog"], pool, test, origin="here", licence="free", **options)


def stored(out: Path, pool: Units, test: Units = TEST, **options: Any) -> Store:
    out.mkdir(exist_ok=True)
    statistics = None if options.get("verify", True) else ((0.5,) * 3, (0.25,) * 3)
    prepare(source(pool, test, **options), out, "toy", "f" * 64, statistics)
    return Store(str(out))


def test_raw_images_come_back(tmp_path: Path) -> None:
    """The whole way of an array: written, described, read, equal."""
    store = stored(tmp_path, numbered("train", [0, 1, 1], IMAGES[:3]))
    decoded = store.pool.decode(store.pool.take(["train-00002", "train-00000"]))

    np.testing.assert_array_equal(IMAGES[[2, 0]], decoded.images, strict=True)
    assert ["train-00002", "train-00000"] == decoded.ids
    assert {"train-00000": 0, "train-00001": 1, "train-00002": 1} == store.labels("pool")
    assert {"test-00000": 1} == store.labels("test")


def test_the_card_describes_the_store(tmp_path: Path) -> None:
    """Plans, models and reports rely on it without opening an image."""
    card = stored(tmp_path, numbered("train", [0, 1, 1], IMAGES[:3])).card

    assert (3, 1) == (card.pool, card.test)
    assert ("cat", "dog") == card.classes
    assert {"pool": (1, 2), "test": (0, 1)} == card.class_counts
    assert (3, 4, 5) == card.image.shape
    assert pytest.approx(IMAGES[:3].mean((0, 2, 3)) / 255) == card.image.mean
    assert {"4x5": 4} == card.sizes
    assert ("raw", None, {}) == (card.encoding, card.decoding, card.bad)
    for file, digest in card.files.items():
        assert hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() == digest
    assert set(card.files) | {"card.json"} == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")
    }


def test_files_hold_a_bounded_number_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million addresses in one file are 5,000 row groups, whose directory all readers read."""
    monkeypatch.setattr(module, "GROUP_ROWS", 2)
    monkeypatch.setattr(store_writer, "PART_ROWS", 4)
    paths = [f"/images/{row}.jpg" for row in range(6)]
    given: dict[str, Any] = {"encoding": "uri", "verify": False, "decoding": Decoding(size=4)}
    statistics = ((0.5,) * 3, (0.25,) * 3)
    units = Units(paths, [0] * 6, paths), Units(["t"], [0], paths)
    card = prepare(source(*units, **given), tmp_path, "toy", "", statistics)

    assert [4, 2] == list(card.parts_of("pool").values())
    assert paths == Store(str(tmp_path)).pool.ids()


def test_preparing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two machines may prepare the same dataset; neither may change what the other reads."""
    pool = numbered("train", [0, 1, 1], IMAGES[:3])

    assert stored(tmp_path / "a", pool).card == stored(tmp_path / "b", pool).card


@pytest.mark.parametrize(
    "label", [2, -1, 10**30, 1.0, float("nan"), None, True, "dog", np.float32(1), np.uint8(2)]
)
def test_labels_are_checked_before_any_image_is_read(tmp_path: Path, label: object) -> None:
    """A label out of range would end a training on a GPU with an assertion without a row."""

    class Untouched:
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("an image was read")

    pool = Units(["a", "b"], [0, label], Untouched())  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"pool row 1 \('b'\): label .* is not a class index 0..1"):
        prepare(source(pool), tmp_path, "toy", "", None)

    assert [] == list(tmp_path.iterdir())


def test_a_label_is_corrected_or_its_class_is_added(tmp_path: Path) -> None:
    """Both ways out; so for the classes that masks say."""
    (tmp_path / "a").mkdir()
    three = source(numbered("train", [0, 2], IMAGES[:2]))
    with pytest.raises(
        DataError, match="label 2 is not a class index 0..1; correct it, or add its"
    ):
        prepare(three, tmp_path / "a", "toy", "", None)
    prepare(replace(three, classes=["cat", "dog", "cow"]), tmp_path / "a", "toy", "", None)
    stored(tmp_path / "b", numbered("train", [0, 1], IMAGES[:2]))

    masks = MaskDecoding(values={0: 0, 7: 2})
    with pytest.raises(DataError, match=r"say class 2, .* 0..1; add its name to these, or map it"):
        replace(three, masks=masks).check()
    replace(three, masks=masks, classes=["cat", "dog", "cow"]).check()
    replace(three, masks=MaskDecoding(values={0: 0, 7: 1})).check()


def test_an_image_for_each_id(tmp_path: Path) -> None:
    """And a label: a dataset of one's own that has lost some."""
    units = numbered("train", [0, 1, 1], IMAGES[:3])._replace(images=IMAGES[:2])
    with pytest.raises(DataError, match="3 ids, and images or masks for 2 of them; give one for e"):
        stored(tmp_path / "a", units)
    with pytest.raises(DataError, match="3 ids and 2 labels; give one label for each$"):
        stored(tmp_path / "b", units._replace(labels=[0, 1]))
    assert 3 == stored(tmp_path / "c", units._replace(images=IMAGES[:3])).card.pool


@pytest.mark.parametrize(
    "ids, message",
    [
        (["a", ""], "pool row 1: id '' is not a non-empty string"),
        (["a", None], "id None is not"),
        (["a", 7], "id 7 is not"),
        (["a", b"b"], "id b'b' is not"),
        (["a", "\udcff"], "is not Unicode"),
        (["a", "a"], "1 id is used more than once in pool and test, first 'a'"),
        (["a", "test-00000"], "first 'test-00000'"),
        ([], "the pool has no images"),
    ],
)
def test_ids_that_name_nothing_or_two_are_refused(
    tmp_path: Path, ids: Sequence[Any], message: str
) -> None:
    """Everything is joined by id; a second meaning of one would silently swap labels."""
    with pytest.raises(DataError, match=message):
        stored(tmp_path, Units(ids, [0] * len(ids), IMAGES))
    right = stored(tmp_path, Units(["a", "b"], [0, 0], IMAGES[:2]))
    assert ["a", "b"] == right.pool.ids()


def test_strange_ids_are_only_strings(tmp_path: Path) -> None:
    """Ids come from file names and other people's tables; none may become a path."""
    ids = ["../../x", "/etc/passwd", "a\nb", "ü☃", "\x1b[2J", "x" * 10_000, "a/b", "%2e%2e", " "]
    out = tmp_path / "store"
    store = stored(out, Units(ids, [0] * 9, np.repeat(IMAGES[:1], 9, axis=0)))

    assert ids == store.pool.ids()
    assert ids[::-1] == store.pool.decode(store.pool.take(ids[::-1])).ids
    assert ids == list(store.labels("pool"))
    assert [out] == list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["raw", "bytes"])
def test_bad_images_keep_their_row(tmp_path: Path, encoding: str) -> None:
    """They are counted and never selected, but their ids stay part of the pool."""
    images = [png(2, 3, 1), b"text", None, png(2, 3, 2)]
    pool = numbered("train", [0, 0, 1, 1], images)
    store = stored(tmp_path, pool, numbered("test", [0], [png(2, 3, 3)]), encoding=encoding)
    decoded = store.pool.decode(store.pool.take(store.pool.ids()))

    assert ["train-00000", "train-00003"] == decoded.ids
    assert [1, 2] == decoded.images[:, 0, 0, 0].tolist()
    assert ["train-00001", "train-00002"] == list(decoded.bad)
    assert decoded.bad == store.card.bad
    assert pytest.approx((1.5 / 255, 0, 0)) == store.card.image.mean


def test_nothing_but_bad_images_is_refused(tmp_path: Path) -> None:
    """There is nothing to train on; the first reason usually tells what went wrong."""
    pool = numbered("train", [0, 1], [b"text", b""])
    with pytest.raises(DataError, match="none of 2 images can be decoded; the first: not an image"):
        stored(tmp_path, pool, encoding="bytes")


@pytest.mark.parametrize("side, encoding", [(64, "raw"), (65, "bytes")])
def test_small_images_are_decoded_once(tmp_path: Path, side: int, encoding: str) -> None:
    """`auto`: decoding CIFAR in every epoch would take longer than training on it."""
    pool = numbered("train", [0], [png(side, side, 9)])
    test = numbered("test", [0], [png(side, side, 8)])
    store = stored(tmp_path, pool, test, encoding="auto")

    assert encoding == store.card.encoding
    assert 9 == store.pool.decode(store.pool.take(["train-00000"])).images[0, 0, 0, 0]


def test_images_of_different_size_need_a_policy(tmp_path: Path) -> None:
    """Silently stretching them would be a choice the paper's method section does not mention."""
    pool = numbered("train", [0, 1], [png(8, 8), png(8, 9)])
    test = numbered("test", [1], [png(30, 20)])
    with pytest.raises(
        UsageError, match="'train-00001' is 8x9, the first is 8x8; set dataset.size"
    ):
        stored(tmp_path / "a", pool, test, encoding="auto")

    store = stored(tmp_path / "b", pool, test, encoding="auto", decoding=Decoding(size=8))

    assert (3, 8, 8) == store.card.image.shape
    assert {"8x8": 1, "8x9": 1, "30x20": 1} == store.card.sizes


def test_addresses_are_kept_and_files_read_later(tmp_path: Path) -> None:
    """ImageNet stays where it is; a file that vanishes is one bad image with the reason."""
    files = [tmp_path / f"{row}.png" for row in range(3)]
    for row, file in enumerate(files):
        file.write_bytes(png(4, 4, row))
    pool = Units(["a", "b"], [0, 1], [str(file) for file in files[:2]])
    test = Units(["c"], [0], [str(files[2])])
    store = stored(tmp_path / "store", pool, test, encoding="uri")
    files[0].unlink()
    decoded = store.pool.decode(store.pool.take(["a", "b"]))

    assert (["b"], {"a": f"missing: {files[0]}"}) == (decoded.ids, decoded.bad)
    assert {} == store.card.bad

    files[1].write_bytes(png(4, 5))

    reason = store.pool.decode(store.pool.take(["b"])).bad["b"]
    assert reason.startswith("is (3, 4, 5) instead of (3, 4, 4) (C, H, W); set size: 4 of the data")
    sized = stored(tmp_path / "sized", pool, test, encoding="uri", decoding=Decoding(size=4))
    assert ["b"] == sized.pool.decode(sized.pool.take(["b"])).ids


def test_unverified_addresses_are_not_opened(tmp_path: Path) -> None:
    """A million files on a network disk are listed in seconds; their statistics are then given."""
    pool, test = Units(["a"], [0], ["/nowhere/a.png"]), Units(["b"], [0], ["/nowhere/b.png"])
    given = ((0.5,) * 3, (0.2,) * 3)
    unseen = source(pool, test, encoding="uri", verify=False, decoding=Decoding(size=8))
    card = prepare(unseen, tmp_path, "toy", "", given)

    assert ((3, 8, 8), *given) == (card.image.shape, card.image.mean, card.image.std)
    assert ({}, {}) == (card.sizes, card.bad)


def test_web_addresses_are_refused(tmp_path: Path) -> None:
    """Before any of them could be called."""
    pool = Units(["a"], [0], ["http://example.invalid/a.png"])
    with pytest.raises(DataError, match="is refused"):
        stored(tmp_path, pool, encoding="uri")


def test_statistics_need_a_value_per_channel(tmp_path: Path) -> None:
    """The means of a colour dataset on a grey one would broadcast to three channels."""
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match="each of 3 channels; give 3 of each, or neither"):
        prepare(
            source(numbered("train", [0], IMAGES[:1])), tmp_path / "a", "toy", "", ((0.5,), (0.5,))
        )
    for name, right in (("b", ((0.5,) * 3, (0.5,) * 3)), ("c", None)):
        (tmp_path / name).mkdir()
        prepare(source(numbered("train", [0], IMAGES[:1])), tmp_path / name, "toy", "", right)


def test_large_splits_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of terabytes is read in parallel, and its order is that of the source."""
    monkeypatch.setattr(module, "GROUP_ROWS", 4)
    monkeypatch.setattr(store_writer, "PART_BYTES", 8 * 60)
    pool = numbered("train", [0] * 22, np.resize(IMAGES, (22, 3, 4, 5)))
    store = stored(tmp_path, pool)
    rows = [8, 8, 6]

    assert rows == list(store.card.parts_of("pool").values())
    assert pool.ids == store.pool.ids()
    np.testing.assert_array_equal(
        pool.images, store.pool.decode(store.pool.take(pool.ids)).images, strict=True
    )


def test_the_card_can_be_read_back(tmp_path: Path) -> None:
    """JSON must not lose what pydantic wrote: infinities, tuples, strange ids."""
    pool = Units(["a\n\x1b", "b"], [0, 1], [png(2, 2), b"\0"])
    out = tmp_path / "store"
    out.mkdir()
    card = prepare(
        source(pool, numbered("test", [0], [png(2, 2)]), encoding="auto"), out, "t", "", None
    )

    assert card == Store(str(out)).card
    assert isinstance(card, Card)


BLOCKS = MaskDecoding(values={0: 0, 1: 1, 9: IGNORE})


def mask_png(*rows: list[int], mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array(rows, np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


MASKS = [mask_png([0, 1, 1], [9, 9, 0]), mask_png([1, 1, 1], [1, 9, 9]), mask_png(*[[9] * 3] * 2)]
PNGS = [png(2, 3, value) for value in (10, 20, 30)]


def dense(out: Path, masks: Any = MASKS, images: Any = PNGS, **options: Any) -> Store:
    pool = Units([f"p{row}" for row in range(len(images) - 1)], masks[:-1], images[:-1])
    test = Units(["t"], masks[-1:], images[-1:])
    return stored(out, pool, test, **{"masks": BLOCKS, "encoding": "bytes", **options})


def decoded_masks(store: Store, split: SplitName = "pool") -> dict[str, list[list[int]]]:
    card = store.card
    assert card.masks is not None
    decoding = card.decoding or Decoding()
    return {
        unit: decode(label, card.masks, decoding).tolist()
        for unit, label in store.labels(split).items()
        if not isinstance(label, int)
    }


@pytest.mark.parametrize("encoding", ["bytes", "raw"])
def test_masks_come_back(tmp_path: Path, encoding: str) -> None:
    """The whole way of a mask: translated, written, described, read, equal."""
    store = dense(tmp_path, encoding=encoding)

    assert {"p0": [[0, 1, 1], [255, 255, 0]], "p1": [[1, 1, 1], [1, 255, 255]]} == (
        decoded_masks(store)
    )
    assert {"t": [[255] * 3] * 2} == decoded_masks(store, "test")
    assert BLOCKS == store.card.masks
    assert ({"pool": (2, 6), "test": (0, 0)}, 1) == (
        store.card.class_counts,
        store.card.empty_masks,
    )
    assert {*store.card.files} == {
        *("labels.parquet", "test_labels.parquet", "copies.parquet"),
        *("pool/part-00000.parquet", "test/part-00000.parquet"),
    }


@pytest.mark.parametrize("options", [{"shape": (4, 3)}, {"size": 2}, {"canvas": (3, 4)}])
@pytest.mark.parametrize("encoding", ["bytes", "auto"])
def test_masks_get_the_geometry_of_their_images(
    tmp_path: Path, encoding: str, options: dict[str, Any]
) -> None:
    """Also where images are kept as pixels, and nothing of the geometry is in the card."""
    decoding = Decoding.model_validate(options)
    store = dense(tmp_path, encoding=encoding, decoding=decoding)
    original = np.array([[0, 1, 1], [255, 255, 0]], np.uint8)

    assert arrange(original, decoding).tolist() == decoded_masks(store)["p0"]
    assert decoding.frame == store.card.image.shape[1:]
    assert store.card.class_counts["pool"] == tuple(
        sum(np.sum(np.array(mask) == number) for mask in decoded_masks(store).values())
        for number in (0, 1)
    )


def test_masks_may_stay_where_they_are(tmp_path: Path) -> None:
    """Cityscapes is neither copied nor, without `verify`, decoded: only its addresses are kept."""
    files = [tmp_path / f"{row}.png" for row in range(3)]
    masks = [tmp_path / f"{row}-mask.png" for row in range(3)]
    for file, data in zip([*files, *masks], [*PNGS, *MASKS], strict=True):
        file.write_bytes(data)
    given: dict[str, Any] = {"encoding": "uri", "images": [*map(str, files)]}
    seen = dense(tmp_path / "a", [*map(str, masks)], **given)
    unseen = dense(tmp_path / "b", [*map(str, masks)], **given, verify=False)

    assert {"p0": str(masks[0]), "p1": str(masks[1])} == seen.labels("pool")
    assert seen.labels("pool") == unseen.labels("pool")
    assert [[0, 1, 1], [255, 255, 0]] == decoded_masks(unseen)["p0"]
    assert ({"pool": (2, 6), "test": (0, 0)}, {}) == (
        seen.card.class_counts,
        unseen.card.class_counts,
    )
    assert (3, 2, 3) == unseen.card.image.shape, "that of the first image"


@pytest.mark.parametrize(
    "mask, reason",
    [
        (mask_png([0, 1, 7], [8, 0, 0]), "values 7, 8 are no classes; known are 0-1, 9"),
        (mask_png([0, 1], [0, 0]), r"is 2x2 \(HxW\), its image 2x3"),
        (mask_png([0, 0], [0, 0], [0, 0]), r"is 3x2 \(HxW\), its image 2x3"),
        (mask_png([0, 0, 0], [0, 0, 0], mode="RGB"), "mode RGB has 3 numbers for each pixel"),
        (b"text", "not a mask"),
        (None, r"no mask \(null\)"),
        ("/nowhere/mask.png", "/nowhere/mask.png: missing"),
    ],
)
@pytest.mark.parametrize("row", [0, 1, 2])
def test_bad_masks_end_it_before_any_training(
    tmp_path: Path, mask: Any, reason: str, row: int
) -> None:
    """On a GPU they would be an assertion without a name, hours later."""
    masks = [*MASKS[:row], mask, *MASKS[row + 1 :]]
    split, name = ("test", "t") if row == 2 else ("pool", f"p{row}")
    with pytest.raises(DataError, match=f"masks of the {split} cannot .* first '{name}': {reason}"):
        dense(tmp_path, masks)

    assert not (tmp_path / "card.json").exists()


def unverified(folder: Path, masks: Any, images: Any = PNGS, **options: Any) -> Store:
    """Of files that stay where they are; None is one that is not there."""
    addresses = {"images": [], "masks": []}
    for kind, files in (("images", images), ("masks", masks)):
        for row, data in enumerate(files):
            path = folder / f"{kind}-{row}"
            addresses[kind].append(str(path))
            if data is not None:
                path.write_bytes(data)
    given: dict[str, Any] = {"encoding": "uri", "verify": False, **options}
    return dense(folder / "store", addresses["masks"], addresses["images"], **given)


GEOMETRIES = [{"shape": (4, 6)}, {"size": 2}, {"canvas": (3, 4)}, {}]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize(
    "mask, reason",
    [
        (mask_png([0, 1], [0, 0]), r"is 2x2 \(HxW\), its image 2x3"),
        (mask_png([0, 0], [0, 0], [0, 0]), r"is 3x2 \(HxW\), its image 2x3"),
        (b"text", "not a mask"),
        (None, "missing"),
    ],
)
def test_masks_of_other_sizes_are_seen_without_verify(
    tmp_path: Path, mask: Any, reason: str, row: int, geometry: dict[str, Any]
) -> None:
    """They would be stretched to their images, or filled up, without a word (F03)."""
    decoding = Decoding.model_validate(geometry)
    masks = [*MASKS[:row], mask, *MASKS[row + 1 :]]
    split, name = ("test", "t") if row == 2 else ("pool", f"p{row}")
    message = f"masks of the {split} cannot .* first '{name}': .*masks-{row}.*{reason}"
    with pytest.raises(DataError, match=message):
        unverified(tmp_path, masks, decoding=decoding)

    assert not (tmp_path / "store/card.json").exists()


@pytest.mark.parametrize("row, found", [(0, True), (1, False), (2, True)])
def test_the_first_mask_is_seen_without_verify(tmp_path: Path, row: int, found: bool) -> None:
    """Values that are no classes are in every file: not after the first training (F02)."""
    masks = [*MASKS[:row], mask_png([0, 1, 7], [8, 0, 0]), *MASKS[row + 1 :]]
    with pytest.raises(DataError, match="values 7, 8 are no") if found else nullcontext():
        unverified(tmp_path, masks)


def test_only_the_first_is_decoded_without_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes for Cityscapes; and what is known of one image is nothing to tell of all."""
    looked = []
    monkeypatch.setattr(
        "rayal.data.prepare.look", lambda *given: looked.append(given) or look(*given)
    )
    masks = [MASKS[2], MASKS[0], MASKS[1], MASKS[2]]  # the first without a class
    card = unverified(tmp_path, masks, [*PNGS, PNGS[0]], decoding=Decoding(shape=(4, 6))).card

    assert [f"{tmp_path}/images-0", f"{tmp_path}/images-3"] == [image for image, _ in looked]
    assert ({}, {}, 0, {}) == (card.sizes, card.class_counts, card.empty_masks, card.bad)
    assert {"pool": 0, "across": 0} == card.duplicates


def test_a_bad_image_needs_no_mask_without_verify(tmp_path: Path) -> None:
    """It shows up while scoring, and is set aside there."""
    masks = [mask_png([0]), MASKS[1], MASKS[2]]
    store = unverified(tmp_path, masks, [None, *PNGS[1:]], decoding=Decoding(size=2))

    assert ["p0", "p1"] == store.pool.ids()


def test_all_bad_masks_of_a_group_are_counted(tmp_path: Path) -> None:
    """One typing error in the translation is in every file: a message each would take days."""
    masks = [mask_png([row, 2, 2], [2, 2, 2]) for row in range(5, 11)]
    with pytest.raises(DataError, match="5 of 5 looked at, first 'p0': .*'p1': .*'p2': [^']*mend"):
        dense(tmp_path, masks, [PNGS[0]] * 6)
    good = [mask_png([0, 1, 0], [1, 0, 0])] * 6
    assert 5 == dense(tmp_path / "a", good, [PNGS[0]] * 6).card.pool  # mended
    assert 1 == dense(tmp_path / "b", good[:2], [PNGS[0]] * 2).card.pool  # taken away


def test_a_bad_image_needs_no_mask(tmp_path: Path) -> None:
    """It is never selected, so what lies beside it does not matter."""
    store = dense(tmp_path, [b"text", MASKS[1], MASKS[2]], [b"", *PNGS[1:]])

    assert ["p0"] == list(store.card.bad)
    assert ["p1"] == list(store.labels("pool"))
    assert (0, 4) == store.card.class_counts["pool"]


def test_statistics_are_those_of_images_not_of_their_canvas(tmp_path: Path) -> None:
    """Borders of one colour would make every image look paler than it is."""
    images = [png(1, 1, 255), png(2, 2, 0), png(1, 1)]
    masks = [mask_png([0]), mask_png([0, 0], [0, 0]), mask_png([0])]
    store = dense(tmp_path, masks, images, decoding=Decoding(canvas=(8, 8)))
    decoded = store.pool.decode(store.pool.take(["p1", "p0"]))

    assert pytest.approx((0.2, 0, 0)) == store.card.image.mean
    assert pytest.approx((0.4, 1, 1)) == store.card.image.std
    assert decoded.sizes is not None
    assert [[2, 2], [1, 1]] == decoded.sizes.tolist()
    assert ("bytes", (3, 8, 8)) == (store.card.encoding, decoded.images.shape[1:])


def test_pixels_cannot_say_how_large_they_were(tmp_path: Path) -> None:
    """A strategy would count the border of a raw canvas as part of the image."""
    canvas = Decoding(canvas=(8, 8))

    assert "bytes" == dense(tmp_path / "a", encoding="auto", decoding=canvas).card.encoding
    with pytest.raises(UsageError, match="raw does not keep .* a canvas; set encoding: bytes"):
        dense(tmp_path / "b", encoding="raw", decoding=canvas)


def test_a_few_large_images_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 images of 2048x1024 are two gigabytes; the store must not depend on how many are held."""
    monkeypatch.setattr(module, "GROUP_ROWS", 4)
    masks = [mask_png([row % 2] * 3, [1, 9, 0]) for row in range(11)]
    images = [png(2, 3, row) for row in range(11)]
    whole = dense(tmp_path / "a", masks, images)
    monkeypatch.setattr(module, "LOOK_BYTES", 3 * 6 * 3)
    counted = list[int]()
    monkeypatch.setattr(
        Survey, "add", lambda *given, add=Survey.add: (counted.append(len(given[2])), add(*given))
    )
    few = dense(tmp_path / "b", masks, images)

    assert [3, 3, 3, 1, 1] == counted
    assert whole.card == few.card
    assert [4, 4, 2] == [
        parquet.row_group(group).num_rows
        for parquet in [pq.ParquetFile(tmp_path / "b/labels.parquet").metadata]
        for group in range(parquet.num_row_groups)
    ]


def test_what_is_missing_in_the_masks_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A class without pixels is allowed, but a wrong translation looks the same."""
    dense(tmp_path, [mask_png([0] * 3, [0] * 3), *MASKS[1:], MASKS[2]], [*PNGS, PNGS[0]])

    assert "2 of 4 masks have no pixel of any class" in caplog.text
    assert "no pixel of the pool is" not in caplog.text

    dense(tmp_path / "b", [mask_png([0] * 3, [9] * 3)] * 3)

    assert "no pixel of the pool is 'dog'" in caplog.text
    assert "50% of the masks' pixels are 255, which is no class" in caplog.text


def test_classes_that_look_like_a_mistake_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers from 1 make an empty class, and a blank makes one more: nobody would see why."""
    names = ["", "cat", "Cat ", "caf\u00e9", "cafe\u0301", "owl"]
    pool = numbered("train", [0, 0, 1, 2, 3, 4], [*IMAGES[:3], *IMAGES[:3]])
    x = Source(names, pool, TEST, origin="here", licence="free")
    (tmp_path / "a").mkdir()
    prepare(x, tmp_path / "a", "toy", "f" * 64, None)

    assert "no image of the pool is 'owl'" in caplog.text
    assert "2 images are of the class '' in the pool" in caplog.text
    assert "classes 'cat', 'Cat ' differ in case, spaces or Unicode form alone" in caplog.text
    assert r"classes 'café', 'cafe\u0301' differ in case" in caplog.text
    caplog.clear()
    stored(tmp_path / "b", numbered("train", [0, 1, 1], IMAGES[:3]))
    assert "class" not in caplog.text and "no image" not in caplog.text


def test_stores_without_masks_can_still_be_read(tmp_path: Path) -> None:
    """Those that an older rayal prepared."""
    store = stored(tmp_path, numbered("train", [0, 1], IMAGES[:2]))
    card = json.loads((tmp_path / "card.json").read_text())
    del card["masks"], card["empty_masks"], card["sha256"]
    (tmp_path / "card.json").write_text(json.dumps(card))

    assert (None, 0) == (Store(store.url).card.masks, Store(store.url).card.empty_masks)
    assert {"train-00000": 0, "train-00001": 1} == Store(store.url).labels("pool")


def test_images_of_another_size_are_refused_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of large ones would be in memory at a time, where the first is small."""
    shown, decoded = picture.upright, list[tuple[int, int]]()
    monkeypatch.setattr(picture, "upright", lambda i: decoded.append(i.size) or shown(i))
    pool = numbered("train", [0, 1], [png(4, 5), png(300, 400)])
    with pytest.raises(UsageError, match="'train-00001' is 300x400, the first is 4x5; set dataset"):
        stored(tmp_path / "store", pool, numbered("test", [0], [png(4, 5)]))

    assert {(5, 4)} == set(decoded)


def test_arrays_of_different_size_are_not_resized(tmp_path: Path) -> None:
    """Pixels have no decoding: a size of it would be set in vain."""
    images = [np.zeros((3, 4, side), np.uint8) for side in (4, 5)]
    with pytest.raises(UsageError, match="is 4x5, the first is 4x4; give arrays of one size$"):
        stored(tmp_path / "a", numbered("train", [0, 1], images), numbered("test", [0], images[:1]))
    same = [images[0], images[1][:, :, :4]]
    stored(tmp_path / "b", numbered("train", [0, 1], same), numbered("test", [0], same[:1]))


@pytest.mark.parametrize("bits", [12, 16])
def test_nearly_black_images_are_told(
    bits: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A camera's 12 bits in a file of 16 would be trained on as black."""
    values = np.linspace(0, 2**bits - 1, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(buffer := io.BytesIO(), "PNG")
    images = [buffer.getvalue()] * 2
    stored(tmp_path, numbered("train", [0, 1], images), numbered("test", [0], images[:1]))

    assert (bits == 12) == ("no pixel of the pool is above 15 of 255" in caplog.text)
