"""Where a training's images and labels lie: on the training device, or in a local mapped file.

B of one batch; * is nothing for classification, H W for segmentation.
"""

import mmap
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from rayal.data.card import Card, ImageSpec
from rayal.data.masks import LabelValue
from rayal.data.pool import Decoded
from rayal.data.store import Split
from rayal.data.tasks.base import Task
from rayal.errors import OUT, DataError, StorageError, quoted
from rayal.models.device import sent

CHUNK = 1024  # images read from the store at a time
PIECE = 16  # images that one thread decodes at a time

Columns = tuple[Tensor, ...]
"""Items at some places, and what goes with each of them."""


class Items(Protocol):
    """The images of a list of ids, or their labels, by their places in the list."""

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """For each list of places its items, on the training device: images as stored (B and
        their shape), or what the task compares with (B *)."""


class ImageItems(Items, Protocol):
    """Images, of which some may lie on a canvas that is larger than they are."""

    def with_sizes(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """As `batches`, with height and width of each image inside its canvas, B 2; None where
        each fills all of it."""


def open_images(
    split: Split, ids: Sequence[str], spec: ImageSpec, device: torch.device, resident_bytes: int
) -> ImageItems:
    """The images on the device if they take at most `resident_bytes` there, else streamed."""
    if len(ids) * spec.byte_count > resident_bytes:
        return Streaming(partial(_images_at, split, _on_disk(split, ids)), device)
    images = np.empty((len(ids), *spec.shape), spec.numbers)
    start, sizes = 0, list[Tensor]()
    for rows in split.chunks(ids, CHUNK):
        decoded = _decoded(split, rows)
        images[start : start + len(rows)] = decoded.images
        start += len(rows)
        if decoded.sizes is not None:
            sizes.append(torch.from_numpy(decoded.sizes))
    there = torch.cat(sizes).to(device) if sizes else None
    return Resident(torch.from_numpy(images).to(device), there)


def open_labels(
    task: Task,
    labels: Mapping[str, LabelValue],
    card: Card,
    device: torch.device,
    resident_bytes: int,
) -> Items:
    """What the task compares with, in the order of `labels` (id -> label): on the device if it
    takes at most `resident_bytes` there, else decoded batch by batch."""
    ids = list(labels)
    decode = partial(_labels_at, task, labels, card, ids)
    (first,) = decode(torch.arange(1))
    if len(ids) * first.nbytes > resident_bytes:
        return Streaming(decode, device)
    items = torch.empty((len(ids), *first.shape[1:]), dtype=first.dtype)
    for part in torch.arange(len(ids)).split(CHUNK):  # type: ignore[no-untyped-call]
        (items[part],) = decode(part)
    return Resident(items.to(device))


class Resident:
    """All items as one tensor on the training device."""

    def __init__(self, items: Tensor, sizes: Tensor | None = None) -> None:
        """`sizes`: of images on a canvas, see `ImageItems.with_sizes`."""
        self.items, self.sizes = items, sizes

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield self.items.index_select(0, sent(part, self.items.device))

    def with_sizes(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
        for part, images in zip(parts, self.batches(parts), strict=True):
            sizes = self.sizes
            yield images, None if sizes is None else sizes[sent(part, sizes.device)]


class Streaming:
    """Items that threads decode ahead of their use.

    As many threads as torch uses share each batch. Decoded ahead is one batch, or as many as give
    every thread two pieces.
    """

    def __init__(self, decode: Callable[[Tensor], Columns], device: torch.device) -> None:
        """`decode` gives the items at some places, on the CPU, and the sizes of images on a canvas
        behind them."""
        self.decode, self.device = decode, device
        self.threads = torch.get_num_threads()

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        return (items for items, *_ in self._ahead(parts))

    def with_sizes(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
        for items, *sizes in self._ahead(parts):
            yield items, sizes[0] if sizes else None

    def _ahead(self, parts: Sequence[Tensor]) -> Iterator[Columns]:
        ahead = deque[list[Future[Columns]]]()
        with ThreadPoolExecutor(self.threads) as threads:
            try:
                for part in parts:
                    ahead.append([threads.submit(self.decode, p) for p in torch.split(part, PIECE)])
                    if len(ahead) > 1 and sum(map(len, ahead)) >= 2 * self.threads:
                        yield self._whole(ahead.popleft())
                while ahead:
                    yield self._whole(ahead.popleft())
            finally:
                threads.shutdown(cancel_futures=True)

    def _whole(self, pieces: list[Future[Columns]]) -> Columns:
        columns = zip(*(piece.result() for piece in pieces), strict=True)
        return tuple(sent(torch.cat(column), self.device) for column in columns)


def _images_at(split: Split, rows: pa.Table, places: Tensor) -> Columns:
    """The images of some of the undecoded rows, and their sizes where they lie on a canvas."""
    taken = pa.concat_tables([rows.slice(place, 1) for place in places.tolist()])
    decoded = _decoded(split, taken)
    images = torch.from_numpy(decoded.images)
    return (images,) if decoded.sizes is None else (images, torch.from_numpy(decoded.sizes))


def _labels_at(
    task: Task, labels: Mapping[str, LabelValue], card: Card, ids: Sequence[str], places: Tensor
) -> Columns:
    """What the task compares with, of some of the ids."""
    units = [ids[place] for place in places.tolist()]
    return (task.targets({unit: labels[unit] for unit in units}, card),)


def _decoded(split: Split, rows: pa.Table) -> Decoded:
    decoded = split.decode(rows)
    if decoded.bad:
        unit, reason = next(iter(decoded.bad.items()))
        raise DataError(
            f"training image {quoted(unit)} cannot be decoded: {reason}; mend the file, or leave it"
            f" out of the dataset and use another {OUT}"
        )
    return decoded


def _on_disk(split: Split, ids: Sequence[str]) -> pa.Table:
    """The undecoded rows of these ids, in a mapped file without a name: it disappears with the
    process, killed or not."""
    try:
        with tempfile.TemporaryFile() as file:
            writer = None
            for rows in split.chunks(ids, CHUNK):
                writer = writer or pa.ipc.new_file(file, rows.schema)
                writer.write_table(rows)
            assert writer is not None, "there are labeled images"
            writer.close()
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{tempfile.gettempdir()}: no room for {len(ids)} training images ({error}); set TMPDIR"
            " to a larger disk, or raise compute.resident_bytes to keep them in memory"
        ) from error
    return pa.ipc.open_file(pa.py_buffer(mapped)).read_all()
