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
from rayal.data.images import Stored
from rayal.data.masks import LabelValue
from rayal.data.store import Split
from rayal.data.tasks.base import Task
from rayal.errors import OUT, DataError, StorageError, quoted
from rayal.models.device import sent

CHUNK = 1024  # images read from the store at a time
PIECE = 16  # images that one thread decodes at a time


class Items(Protocol):
    """The images of a list of ids, or their labels, by their places in the list."""

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """For each list of places its items, on the training device: images as stored (B and
        their shape), or what the task compares with (B *)."""


def open_images(
    split: Split, ids: Sequence[str], spec: ImageSpec, device: torch.device, resident_bytes: int
) -> Items:
    """The images on the device if they take at most `resident_bytes` there, else streamed."""
    if len(ids) * spec.byte_count > resident_bytes:
        return Streaming(partial(_images_at, split, _on_disk(split, ids)), device)
    images = np.empty((len(ids), *spec.shape), spec.numbers)
    start = 0
    for rows in split.chunks(ids, CHUNK):
        images[start : start + len(rows)] = _decoded(split, rows)
        start += len(rows)
    return Resident(torch.from_numpy(images).to(device))


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
    first = decode(torch.arange(1))
    if len(ids) * first.nbytes > resident_bytes:
        return Streaming(decode, device)
    items = torch.empty((len(ids), *first.shape[1:]), dtype=first.dtype)
    for part in torch.arange(len(ids)).split(CHUNK):  # type: ignore[no-untyped-call]
        items[part] = decode(part)
    return Resident(items.to(device))


class Resident:
    """All items as one tensor on the training device."""

    def __init__(self, items: Tensor) -> None:
        self.items = items

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield self.items.index_select(0, sent(part, self.items.device))


class Streaming:
    """Items that threads decode ahead of their use.

    As many threads as torch uses share each batch. Decoded ahead is one batch, or as many as give
    every thread two pieces.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], device: torch.device) -> None:
        """`decode` gives the items at some places, on the CPU."""
        self.decode, self.device = decode, device
        self.threads = torch.get_num_threads()

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        ahead = deque[list[Future[Tensor]]]()
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

    def _whole(self, pieces: list[Future[Tensor]]) -> Tensor:
        return sent(torch.cat([piece.result() for piece in pieces]), self.device)


def _images_at(split: Split, rows: pa.Table, places: Tensor) -> Tensor:
    """The images of some of the undecoded rows."""
    taken = pa.concat_tables([rows.slice(place, 1) for place in places.tolist()])
    return torch.from_numpy(_decoded(split, taken))


def _labels_at(
    task: Task, labels: Mapping[str, LabelValue], card: Card, ids: Sequence[str], places: Tensor
) -> Tensor:
    """What the task compares with, of some of the ids."""
    units = [ids[place] for place in places.tolist()]
    return task.targets({unit: labels[unit] for unit in units}, card)


def _decoded(split: Split, rows: pa.Table) -> Stored:
    decoded = split.decode(rows)
    if decoded.bad:
        unit, reason = next(iter(decoded.bad.items()))
        raise DataError(
            f"training image {quoted(unit)} cannot be decoded: {reason}; mend the file, or leave it"
            f" out of the dataset and use another {OUT}"
        )
    return decoded.images


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
