"""Where a training's images lie: on the training device as uint8, or in a local mapped file."""

import mmap
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.dataset import ImageSpec, Split
from rayal.errors import DataError, StorageError

CHUNK = 1024  # images read from the store at a time
PIECE = 16  # images that one thread decodes at a time


class Images(Protocol):
    """The images of a list of ids, by their places in the list."""

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """For each list of places their images: uint8, B C H W, on the training device."""


def open_images(
    split: Split, ids: Sequence[str], spec: ImageSpec, device: torch.device, resident_bytes: int
) -> Images:
    """The images on the device if they take at most `resident_bytes` there, else streamed."""
    if len(ids) * spec.channels * spec.height * spec.width <= resident_bytes:
        return Resident(split, ids, spec, device)
    return Streaming(split, ids, device)


class Resident:
    """All images as one uint8 tensor on the training device."""

    def __init__(
        self, split: Split, ids: Sequence[str], spec: ImageSpec, device: torch.device
    ) -> None:
        images = np.empty((len(ids), spec.channels, spec.height, spec.width), np.uint8)
        start = 0
        for rows in split.chunks(ids, CHUNK):
            images[start : start + len(rows)] = _decoded(split, rows)
            start += len(rows)
        self.images = torch.from_numpy(images).to(device)

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield self.images[part.to(self.images.device)]


class Streaming:
    """The undecoded images in a local memory-mapped file, decoded by threads ahead of their use.

    As many threads as torch uses share each batch. Decoded ahead is one batch, or as many as give
    every thread two pieces. The file has no name: it disappears with the process, killed or not.
    """

    def __init__(self, split: Split, ids: Sequence[str], device: torch.device) -> None:
        self.split, self.device = split, device
        self.threads = torch.get_num_threads()
        self.rows = _on_disk(split, ids)

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        ahead = deque[list[Future[Tensor]]]()
        with ThreadPoolExecutor(self.threads) as threads:
            try:
                for part in parts:
                    ahead.append([threads.submit(self._fetch, p) for p in torch.split(part, PIECE)])
                    if len(ahead) > 1 and sum(map(len, ahead)) >= 2 * self.threads:
                        yield self._whole(ahead.popleft())
                while ahead:
                    yield self._whole(ahead.popleft())
            finally:
                threads.shutdown(cancel_futures=True)

    def _whole(self, pieces: list[Future[Tensor]]) -> Tensor:
        return torch.cat([piece.result() for piece in pieces]).to(self.device)

    def _fetch(self, part: Tensor) -> Tensor:
        rows = pa.concat_tables([self.rows.slice(place, 1) for place in part.tolist()])
        return torch.from_numpy(_decoded(self.split, rows))


def _decoded(split: Split, rows: pa.Table) -> NDArray[np.uint8]:
    decoded = split.decode(rows)
    if decoded.bad:
        unit, reason = next(iter(decoded.bad.items()))
        raise DataError(
            f"training image {unit!r} cannot be decoded: {reason}; mend the file, or leave it out"
            " of the dataset"
        )
    return decoded.images


def _on_disk(split: Split, ids: Sequence[str]) -> pa.Table:
    """The rows of these ids, in a mapped file of their own."""
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
