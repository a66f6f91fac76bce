"""A store holds what its source said, or there is none."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal import prepare as module
from rayal.card import Card
from rayal.errors import DataError, UsageError
from rayal.images import Decoding
from rayal.prepare import prepare
from rayal.source import Source, Units, numbered
from rayal.store import Store

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
    prepare(source(pool, test, **options), out, "toy", "f" * 64, None)
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
    monkeypatch.setattr(module, "PART_ROWS", 4)
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


@pytest.mark.parametrize(
    "ids, message",
    [
        (["a", ""], "pool row 1: id '' is not a non-empty string"),
        (["a", None], "id None is not"),
        (["a", 7], "id 7 is not"),
        (["a", b"b"], "id b'b' is not"),
        (["a", "\udcff"], "is not Unicode"),
        (["a", "a"], "1 ids are used more than once in pool and test, first 'a'"),
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

    assert {"b": "is (3, 4, 5) instead of (3, 4, 4) (C, H, W)"} == (
        store.pool.decode(store.pool.take(["b"])).bad
    )


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
    with pytest.raises(UsageError, match="one value for each of 3 channels"):
        prepare(source(numbered("train", [0], IMAGES)), tmp_path, "toy", "", ((0.5,), (0.5,)))


def test_large_splits_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of terabytes is read in parallel, and its order is that of the source."""
    monkeypatch.setattr(module, "GROUP_ROWS", 4)
    monkeypatch.setattr(module, "PART_BYTES", 8 * 60)
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
