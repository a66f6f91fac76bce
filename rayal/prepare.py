"""Writes a store from a source: labels are checked first, images decoded once, the card last."""

import hashlib
import logging
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayal import uri
from rayal.card import CARD, Card, Encoding, ImageSpec, SplitName
from rayal.errors import DataError, UsageError
from rayal.source import Source, Units, quoted
from rayal.store import LABEL_FILES
from rayal.survey import Look, Shape, Statistics, Survey, look

GROUP_ROWS = 256
"""Images in a row group, the least that is read at a time."""
PART_BYTES, PART_ROWS = 256 * 2**20, 2**16
"""A new file is begun when this much (bytes) or many (images) are in the last one: whoever reads a
few images reads the directory of the file first."""
RAW_SIDE = 64
"""Largest side (pixels) of images that `auto` keeps as raw pixels."""
NEWS = 30.0
"""Seconds between two lines about progress."""

logger = logging.getLogger(__name__)


def prepare(
    source: Source, out: Path, name: str, fingerprint: str, statistics: Statistics | None
) -> Card:
    """Write the store of `source` into the empty folder `out`; statistics replace computed ones.

    Raises DataError for ids or labels that `Source.check` refuses and for a pool without a usable
    image; UsageError for images that differ in size where no size is set.
    """
    source.check()
    shape = _shape(source)
    encoding = _encoding(source, shape)
    survey, parts = Survey(shape), dict[str, int]()
    for split, units in source.splits.items():
        with _Parts(out, split, encoding, shape) as files:
            for ids, looks in _examined(split, units, source):
                survey.add(split, ids, looks)
                files.write(ids, looks)
        parts |= files.rows
        _write_labels(out / LABEL_FILES[split], units)
    card = Card(
        name=name,
        fingerprint=fingerprint,
        classes=tuple(source.classes),
        image=_spec(shape, statistics or survey.statistics()),
        encoding=encoding,
        decoding=None if encoding == "raw" else source.decoding,
        pool=len(source.pool.ids),
        test=len(source.test.ids),
        parts=parts,
        group_rows=GROUP_ROWS,
        bad=survey.bad,
        sizes=dict(survey.sizes.most_common(20)),
        duplicates=survey.duplicates,
        class_counts=_class_counts(source),
        files={file: _sealed(out / file) for file in (*parts, *LABEL_FILES.values())},
        origin=source.origin,
        licence=source.licence,
    )
    (out / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    _sealed(out / CARD)
    _tell(card)
    return card


def _tell(card: Card) -> None:
    """Say what a user should know about the images before the first cycle."""
    if card.bad:
        unit, reason = next(iter(card.bad.items()))
        logger.warning(
            "%d images cannot be decoded, first %s: %s", len(card.bad), quoted(unit), reason
        )
    if across := card.duplicates["across"]:
        logger.warning("%d test images are also in the pool, byte for byte", across)


def _shape(source: Source) -> Shape:
    """That of all images: from the options, or of the first good one of the pool."""
    decoding, reasons = source.decoding, []
    if not source.verify:
        assert decoding.size is not None
        return decoding.channels, decoding.size, decoding.size
    for _, image in zip(source.pool.ids, source.pool.images, strict=False):
        seen = look(image, decoding)
        if seen.pixels is not None:
            channels, height, width = seen.pixels.shape
            return channels, height, width
        reasons.append(seen.bad)
    raise DataError(f"none of {len(reasons)} images can be decoded; the first: {reasons[0]}")


def _encoding(source: Source, shape: Shape) -> Encoding:
    if source.encoding != "auto":
        return source.encoding
    return "raw" if max(shape[1:]) <= RAW_SIDE else "bytes"


def _spec(shape: Shape, statistics: Statistics) -> ImageSpec:
    (channels, height, width), (mean, std) = shape, statistics
    if not len(mean) == len(std) == channels:
        raise UsageError(
            f"mean {mean} and std {std} need one value for each of {channels} channels"
        )
    return ImageSpec(channels=channels, height=height, width=width, mean=mean, std=std)


def _examined(
    split: SplitName, units: Units, source: Source
) -> Iterator[tuple[list[str], list[Look]]]:
    """Ids and looks of one row group after the other, decoded on all cores."""
    ids, images = iter(units.ids), iter(units.images)
    done, told = 0, monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while group := list(islice(ids, GROUP_ROWS)):
            found = islice(images, len(group))
            if source.verify:
                looks = list(threads.map(partial(look, decoding=source.decoding), found))
            else:
                looks = [Look(image) for image in found]
            assert len(group) == len(looks), "a source has fewer images than ids"
            yield group, looks
            done += len(group)
            if monotonic() - told > NEWS:
                told = monotonic()
                logger.info("prepared %d of %d images of the %s", done, len(units.ids), split)


class _Parts:
    """The image files of one split."""

    def __init__(self, out: Path, split: SplitName, encoding: Encoding, shape: Shape) -> None:
        self.rows: dict[str, int] = {}
        self._out, self._split, self._encoding = out, split, encoding
        # Fixed-size binary, not a tensor type: Parquet would keep each pixel as an int32 in nested
        # lists, 1.3 times the bytes and 15 times as slow to read.
        kinds = {"raw": pa.binary(math.prod(shape)), "bytes": pa.large_binary(), "uri": pa.string()}
        self._schema = pa.schema({"id": pa.string(), "image": kinds[encoding]})
        self._writer: Any = None
        self._bytes = 0
        (out / split).mkdir()

    def __enter__(self) -> "_Parts":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, ids: list[str], looks: list[Look]) -> None:
        """Append one row group."""
        if self._writer is None or self._is_full():
            self._begin()
        table = pa.table({"id": ids, "image": [self._kept(seen) for seen in looks]}, self._schema)
        self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self.rows[self._file] += len(ids)
        self._bytes += table.nbytes

    def _kept(self, seen: Look) -> bytes | str | None:
        match self._encoding:
            case "raw":
                return None if seen.pixels is None else seen.pixels.tobytes()
            case "bytes":
                return seen.data
            case "uri":
                assert isinstance(seen.image, str)
                return uri.checked(seen.image)

    def _is_full(self) -> bool:
        return self._bytes >= PART_BYTES or self.rows[self._file] >= PART_ROWS

    def _begin(self) -> None:
        self.__exit__()
        self._file = f"{self._split}/part-{len(self.rows):05d}.parquet"
        self.rows[self._file], self._bytes = 0, 0
        self._writer = pq.ParquetWriter(
            self._out / self._file,
            self._schema,
            compression={"id": "zstd", "image": "zstd" if self._encoding == "uri" else "none"},
            use_dictionary=False,
            write_page_checksum=True,
        )


def _write_labels(path: Path, units: Units) -> None:
    columns = {"id": pa.array(units.ids, pa.string()), "label": np.asarray(units.labels, np.int64)}
    pq.write_table(pa.table(columns), path, compression="zstd", write_page_checksum=True)


def _class_counts(source: Source) -> dict[str, tuple[int, ...]]:
    counts = {
        split: np.bincount(np.asarray(units.labels, np.int64), minlength=len(source.classes))
        for split, units in source.splits.items()
    }
    return {split: tuple(count.tolist()) for split, count in counts.items()}


def _sealed(path: Path) -> str:
    """The sha256 of a file, once it is on the disk for good."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
