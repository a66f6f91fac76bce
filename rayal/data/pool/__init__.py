"""What a scoring pass reads: images in Parquet files, cut into shards.

N images of C channels, H rows, W columns; of volumes also D planes, before the rows.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayal.data import uri
from rayal.data.card import Numbers, Shape
from rayal.data.images import BadImage, Decoding, Pixels, Stored, load
from rayal.data.images import pixels as pixels_of_image
from rayal.storage.columns import content, tensor_pixels

NO_DATA = "no data (null)"


class Shard(NamedTuple):
    """Consecutive rows of one file: the unit of work, and of resuming, of a pass."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody misses
    file: str
    first_group: int
    groups: int
    skip: int
    """Rows of the first group that belong to shards before."""
    rows: int


class Decoded(NamedTuple):
    """The good images of some rows, and why the others are not."""

    ids: list[str]
    images: Stored  # N C H W or N C D H W, aligned with ids
    bad: dict[str, str]  # id -> reason
    sizes: NDArray[np.int32] | None = None  # N 2
    """Height and width of the images inside their canvas; None where each fills all of it."""


class CanvasImage(NamedTuple):
    """An image as networks see it."""

    pixels: Pixels  # C H W
    size: tuple[int, int] | None = None
    """Height and width inside its canvas; None where it fills all of it."""


class Images(Protocol):
    """Where scorers find the rows of shards. Pickled on the way to them, so it holds no rows."""

    @property
    def raw(self) -> bool:
        """Whether images are stored as pixels: decoding is then no work."""

    def read(self, shard: Shard, keep: Container[str] | None = None) -> pa.Table:
        """Columns id and image (undecoded) of a shard; with `keep`, only the rows of those ids."""

    def decode(self, rows: pa.Table) -> Decoded:
        """The pixels of rows that `read` returned; bad images apart, with the reason."""

    def stored(self, rows: pa.Table) -> Iterator[tuple[str, object]]:
        """Id and image of rows that `read` returned, as it is stored: pixels, bytes of a file, or
        its address. Raises BadImage for one that is missing."""

    def ids_of(self, shard: Shard) -> pa.ChunkedArray:
        """The ids of a shard, strings in the order of its rows; reads no image."""


def cut(files: Mapping[str, Sequence[int]], rows: int) -> list[Shard]:
    """Shards of files, given as the rows of each of their row groups.

    A shard is the fewest row groups that hold `rows` rows, or part of one that holds more; the
    last of a file may be smaller. The cut depends on the files and `rows` only.
    """
    pieces = (piece for file, groups in files.items() for piece in _pieces(file, groups, rows))
    return [Shard(index, *piece) for index, piece in enumerate(pieces)]


def _pieces(
    file: str, groups: Sequence[int], rows: int
) -> Iterator[tuple[str, int, int, int, int]]:
    """File, first group, groups, skip and rows of each shard of one file."""
    first = gathered = 0
    for group, size in enumerate(groups):
        if size > rows:
            if gathered:
                yield file, first, group - first, 0, gathered
            yield from (
                (file, group, 1, skip, min(rows, size - skip)) for skip in range(0, size, rows)
            )
            first, gathered = group + 1, 0
            continue
        gathered += size
        if gathered >= rows:
            yield file, first, group + 1 - first, 0, gathered
            first, gathered = group + 1, 0
    if gathered:
        yield file, first, len(groups) - first, 0, gathered


def decode_each(rows: pa.Table, placed: Callable[[Any], CanvasImage], shape: Shape) -> Decoded:
    """The images of rows one by one; bad where `placed` raises BadImage for what is stored."""
    ids, found, bad = list[str](), list[CanvasImage](), dict[str, str]()
    for unit, stored in zip(rows["id"].to_pylist(), rows["image"], strict=True):
        try:
            found.append(placed(content(stored.as_py())))
            ids.append(unit)
        except BadImage as error:
            bad[unit] = str(error)
        except UnicodeDecodeError:
            bad[unit] = "the address is not Unicode"
    if not found:
        return Decoded(ids, np.empty((0, *shape), np.uint8), bad)
    sizes = [each.size for each in found if each.size is not None]
    return Decoded(
        ids,
        np.stack([each.pixels for each in found]),
        bad,
        np.array(sizes, np.int32) if sizes else None,
    )


def decode_raw(rows: pa.Table, shape: Shape, numbers: Numbers = "uint8") -> Decoded:
    """The images of rows that hold numbers, as bytes of one length or tensors; null is bad."""
    good, bad = rows, dict[str, str]()
    if rows["image"].null_count:
        valid = rows["image"].is_valid()
        good = rows.filter(valid)
        bad = dict.fromkeys(rows.filter(pc.invert(valid))["id"].to_pylist(), NO_DATA)
    return Decoded(good["id"].to_pylist(), _as_array(good["image"], shape, numbers), bad)


def stored_raw(decoded: Decoded) -> Iterator[tuple[str, object]]:
    """As `Images.stored`, of images that are stored as pixels."""
    for reason in decoded.bad.values():
        raise BadImage(reason)
    yield from zip(decoded.ids, decoded.images, strict=True)


def stored_files(rows: pa.Table) -> Iterator[tuple[str, bytes | str]]:
    """As `Images.stored`, of images that are stored as files."""
    for unit, value in zip(rows["id"].to_pylist(), rows["image"], strict=True):
        stored: bytes | str | None = content(value.as_py())
        if stored is None:
            raise BadImage(NO_DATA)
        yield unit, stored


def pixels(stored: bytes | str | None, decoding: Decoding, shape: Shape) -> CanvasImage:
    """The pixels of encoded bytes, or of the file at an address; raises BadImage."""
    if stored is None:
        raise BadImage(NO_DATA)
    data = uri.read_uri(stored) if isinstance(stored, str) else stored
    loaded = load(data, decoding, shape)
    found = pixels_of_image(loaded, decoding)
    assert found.shape == shape
    return CanvasImage(found, (loaded.height, loaded.width) if decoding.canvas else None)


def _as_array(column: pa.ChunkedArray, shape: Shape, numbers: Numbers) -> Stored:
    """N and the shape, writable: one copy out of Arrow's memory, nothing in between."""
    images: Stored = np.empty((len(column), *shape), numbers)
    start = 0
    for chunk in column.chunks:
        images[start : start + len(chunk)] = _pixels(chunk, shape, numbers)
        start += len(chunk)
    return images


def _pixels(chunk: pa.Array, shape: Shape, numbers: Numbers) -> Stored:
    if isinstance(chunk, pa.ExtensionArray):
        return tensor_pixels(chunk)
    if not len(chunk):  # which may have no memory at all
        return np.empty((0, *shape), numbers)
    size, kind = math.prod(shape), np.dtype(numbers)
    start = chunk.offset * size * kind.itemsize
    flat = np.frombuffer(chunk.buffers()[1], kind, len(chunk) * size, start)
    return flat.reshape(-1, *shape)
