"""Batches: their division, their order, and that neither workers nor memory change them."""

import io
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from rayal.data.card import ImageSpec
from rayal.data.datasets.base import Dataset
from rayal.data.pool import Decoded
from rayal.data.source import Source, Units
from rayal.data.store import Split, Store
from rayal.errors import DataError, StorageError, UsageError
from rayal.training.augment import Augment, normalise
from rayal.training.base import Batch
from rayal.training.feed import Feed, batch_ends
from rayal.training.images import Resident, Streaming, open_images
from rayal.training.schemes.supervised import Supervised

CPU = torch.device("cpu")
submit = ThreadPoolExecutor.submit
SPEC = ImageSpec(channels=1, height=4, width=4, mean=(0.5,), std=(0.25,))


class Toy(Dataset):
    """Random images, kept raw or as PNG."""

    encoding: Literal["raw", "bytes"] = "raw"

    def files(self) -> Iterable[str]:
        return ()

    def source(self) -> Source:
        pixels = np.random.default_rng(0).integers(0, 256, (1300, 3, 6, 5), np.uint8)
        images = list(pixels) if self.encoding == "raw" else [png(image) for image in pixels]
        pool = Units([f"u{i}" for i in range(1300)], [i % 2 for i in range(1300)], images)
        test = Units(["t0", "t1"], [0, 1], images[:2])
        return Source(("a", "b"), pool, test, "made up", "none", self.encoding)


class InMemory:
    """Images whose pixels are their place in the list."""

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield part.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module", params=["raw", "bytes"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Toy(store=str(tmp_path_factory.mktemp("stores")), encoding=request.param).open()


def feed(n: int, rank: int = 0, workers: int = 1, cycle: int = 3, **fields: object) -> Feed:
    scheme = Supervised.model_validate({"batch_size": 8, "epochs": 2, **fields})
    return Feed(
        InMemory(),
        Resident(torch.arange(n)),
        n,
        scheme,
        SPEC,
        key=(7, cycle),
        rank=rank,
        workers=workers,
    )


def labels(batches: Iterable[Batch]) -> list[list[int]]:
    return [batch.labels.tolist() for batch in batches]


@pytest.mark.parametrize(
    ("images", "batch_size", "workers", "expected"),
    [
        (16, 8, 1, [8, 16]),
        (18, 8, 1, [8, 16, 18]),
        (17, 8, 1, [8, 17]),  # one image more than two batches
        (9, 8, 1, [9]),
        (5, 8, 1, [5]),
        (2, 2, 1, [2]),
        (19, 8, 2, [8, 19]),  # three images do not give two workers two each
        (20, 8, 2, [8, 16, 20]),
    ],
)
def test_batch_ends_by_hand(
    images: int, batch_size: int, workers: int, expected: list[int]
) -> None:
    """A last batch of one image would stop batch norm, or leave a worker without work."""
    assert expected == batch_ends(images, batch_size, workers)


@pytest.mark.parametrize(("images", "workers"), [(1, 1), (3, 2)])
def test_too_few_images_are_refused(images: int, workers: int) -> None:
    """Batch norm would fail with a message about tensors, or a worker wait for ever."""
    with pytest.raises(DataError, match=f"{images}, but {workers} .* raise budget.initial"):
        batch_ends(images, 8, workers)
    assert [2 * workers] == batch_ends(2 * workers, 8, workers)  # raise budget.initial
    assert images < 2 or [images] == batch_ends(images, 8, 1)  # or lower compute.train_workers


def test_too_small_a_batch_is_refused() -> None:
    """A worker would have nothing to do while the others wait for it."""
    with pytest.raises(UsageError, match="scheme.batch_size 5 gives 3 training workers"):
        batch_ends(100, 5, 3)
    assert 100 == batch_ends(100, 6, 3)[-1] == batch_ends(100, 5, 2)[-1]


@given(
    images=st.integers(2, 300),
    batch_size=st.integers(2, 64),
    workers=st.integers(1, 5),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_workers_share_the_same_batches(
    images: int, batch_size: int, workers: int, seed: int
) -> None:
    """Some image would be seen twice in an epoch or never, or a worker would do fewer steps."""
    if min(images, batch_size) < 2 * workers:
        return
    alone = list(feed(images, batch_size=batch_size, cycle=seed).epoch(1))
    shared = [
        list(feed(images, rank, workers, batch_size=batch_size, cycle=seed).epoch(1))
        for rank in range(workers)
    ]

    assert sorted(sum(labels(alone), [])) == list(range(images))
    assert len({len(batches) for batches in shared}) == 1
    order = []
    for parts in zip(*shared, strict=True):
        order += [label for part in parts for label in part.labels.tolist()]
        assert min(len(part.labels) for part in parts) >= 2
        assert sum(part.weight for part in parts) == pytest.approx(workers)
    assert order == sum(labels(alone), [])


def test_order_depends_on_seed_cycle_and_epoch_alone() -> None:
    """A restart would go on in another order, or every epoch would repeat the first."""
    one = feed(40)

    assert labels(one.epoch(1)) == labels(feed(40).epoch(1))
    assert labels(one.epoch(0)) != labels(one.epoch(1))
    assert labels(one.epoch(0)) != labels(feed(40, cycle=4).epoch(0))


def test_augmentation_belongs_to_the_image() -> None:
    """An image's augmentation would depend on its batch mates or on the number of workers."""
    fields = {"augment": Augment(flip=True, crop=1)}
    alone = {
        label: image
        for batch in feed(20, **fields).epoch(1)
        for label, image in zip(batch.labels.tolist(), batch.images, strict=True)
    }
    for rank in range(2):
        for batch in feed(20, rank, 2, **fields).epoch(1):
            for label, image in zip(batch.labels.tolist(), batch.images, strict=True):
                assert torch.equal(alone[label], image)


def test_images_are_normalised_and_labels_aligned() -> None:
    """Images would come with the labels of others, or unnormalised."""
    for batch in feed(20).epoch(0):
        place = batch.labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
        assert torch.equal(normalise(place, SPEC), batch.images)


def test_steps_cut_the_last_epoch() -> None:
    """A training of 8 steps with 3 an epoch would do 9, and its schedule would not fit."""
    one = feed(20, epochs=None, steps=8)

    assert (one.steps, one.epochs) == (8, 3)
    assert [b.step for epoch in range(3) for b in one.epoch(epoch)] == list(range(8))
    assert {b.steps for b in one.epoch(0)} == {8}
    assert labels(one.epoch(2)) == labels(feed(20, epochs=3).epoch(2))[:2]


def test_streamed_and_resident_images_are_the_same(store: Store) -> None:
    """The same seed would give other weights on a machine with less memory."""
    ids = store.pool.ids()[::-1]
    spec = store.card.image
    parts = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0)).split(128)
    resident = open_images(store.pool, ids, spec, CPU, len(ids) * 3 * 6 * 5)
    streamed = open_images(store.pool, ids, spec, CPU, len(ids) * 3 * 6 * 5 - 1)

    assert isinstance(resident, Resident)
    assert isinstance(streamed, Streaming)
    direct = torch.from_numpy(store.pool.decode(store.pool.take(ids)).images)
    for part, one, other in zip(
        parts, resident.batches(parts), streamed.batches(parts), strict=True
    ):
        assert torch.equal(direct[part], one)
        assert torch.equal(direct[part], other)


@pytest.mark.parametrize(
    ("threads", "size", "expected"),
    [(1, 10, 2), (4, 10, 8), (1, 100, 2 * 7), (4, 100, 2 * 7), (8, 100, 3 * 7)],
)
def test_streaming_decodes_a_bounded_number_of_images_ahead(
    store: Store, monkeypatch: pytest.MonkeyPatch, threads: int, size: int, expected: int
) -> None:
    """All images would be decoded at once and fill the memory that streaming is to save. By hand:
    pieces of 16 images, so 7 of a batch of 100; two batches or two pieces a thread."""
    streamed = open_images(store.pool, store.pool.ids(), store.card.image, CPU, 0)
    streamed.threads = threads
    asked: list[Tensor] = []
    decode = streamed.decode
    monkeypatch.setattr(
        "rayal.training.images.ThreadPoolExecutor.submit",
        lambda pool, work, part: asked.append(part) or submit(pool, decode, part),
    )
    before = threading.active_count()
    batches = streamed.batches(torch.arange(1300).split(size))
    next(batches)
    batches.close()

    assert expected == len(asked)
    assert max(map(len, asked)) <= 16
    assert before == threading.active_count()


def test_an_image_that_broke_since_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training would go on with labels that belong to other images."""
    decode, ids = type(store.pool).decode, store.pool.ids()

    def broken(split: Split, rows: pa.Table) -> Decoded:
        bad = {unit: "truncated" for unit in rows["id"].to_pylist() if unit == "u7"}
        return decode(split, rows)._replace(bad=bad)

    monkeypatch.setattr(type(store.pool), "decode", broken)
    with pytest.raises(DataError, match="'u7' cannot be decoded: truncated; .* leave it out"):
        open_images(store.pool, ids, store.card.image, CPU, 10**9)
    open_images(store.pool, [i for i in ids if i != "u7"], store.card.image, CPU, 10**9)


def test_a_broken_image_of_a_stream_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a decoding thread would be lost, or keep the other threads running."""
    streamed = open_images(store.pool, store.pool.ids(), store.card.image, CPU, 0)
    decode, before = type(store.pool).decode, threading.active_count()

    def broken(split: Split, rows: pa.Table) -> Decoded:
        bad = {unit: "truncated" for unit in rows["id"].to_pylist() if unit == "u700"}
        return decode(split, rows)._replace(bad=bad)

    monkeypatch.setattr(type(store.pool), "decode", broken)
    batches = streamed.batches(torch.arange(1300).split(100))
    for _ in range(7):
        next(batches)

    with pytest.raises(DataError, match="training image 'u700' cannot be decoded: truncated"):
        next(batches)
    assert before == threading.active_count()


def test_a_full_temporary_disk_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A full /tmp would end in a traceback without the way out."""
    opened = tempfile.TemporaryFile

    def full() -> Any:
        if tempfile.gettempdir() == str(tmp_path):
            return opened()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rayal.training.images.tempfile.TemporaryFile", full)
    few = store.pool, store.pool.ids()[:10], store.card.image, CPU
    with pytest.raises(StorageError, match="No space left on device.*set TMPDIR .*, or raise"):
        open_images(*few, 0)
    open_images(*few, 10**9)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # as in another process
    open_images(*few, 0)


def test_streaming_leaves_no_file_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every killed training would leave a copy of its images in /tmp."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    streamed = open_images(store.pool, store.pool.ids(), store.card.image, CPU, 0)

    assert [] == list(tmp_path.iterdir())
    assert len(next(streamed.batches([torch.arange(5)]))) == 5


@pytest.mark.parametrize("augment", [{}, {"flip": True}, {"cutout": 2}])
def test_normalised_once_or_batch_by_batch(augment: dict[str, Any]) -> None:
    """What fits in memory would be trained on as other images, or no longer be augmented."""
    images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    scheme = Supervised.model_validate({"batch_size": 8, "epochs": 2, "augment": augment})
    needed = 4 * images.numel()
    batches, kept = [], []
    for most in (needed - 1, needed):
        labels = Resident(torch.arange(20))
        made = Feed(Resident(images), labels, 20, scheme, SPEC, key=(7, 3), most=most)
        batches.append([batch.images for epoch in range(2) for batch in made.epoch(epoch)])
        kept.append(made.ready)

    assert [False, not augment] == kept
    assert all(map(torch.equal, *batches))
    if not augment:  # by hand: each image of an epoch once, normalised
        expected = ((images / 255 - 0.5) / 0.25).flatten(1)
        seen = torch.cat(batches[1][:3]).flatten(1)
        assert torch.equal(expected[torch.cat(orders(scheme))], seen)


def orders(scheme: Supervised) -> list[Tensor]:
    """Places of the images of the first epoch, by the labels that come with them."""
    places = Resident(torch.arange(20))
    return [b.labels for b in Feed(InMemory(), places, 20, scheme, SPEC, key=(7, 3)).epoch(0)]
