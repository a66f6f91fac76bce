"""Small drawn scenes that a network learns in seconds, with their masks: as arrays, as a pool that
lies in memory, and as a dataset that needs no files.

H rows, W columns.
"""

from collections.abc import Container, Iterator, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayal.data.datasets.base import Dataset
from rayal.data.masks import IGNORE, Mask, MaskDecoding, encode
from rayal.data.pool import Decoded, Shard, cut, stored_raw
from rayal.data.source import Source, Units, row_id
from rayal.data.tasks.base import TaskName

SHAPE = 24, 32
COLOURS = np.array([(90, 160, 230), (70, 70, 80), (200, 60, 40)])
"""Of classes 0 to 2: what is above a line, what is below, and boxes before both."""
CLASSES = len(COLOURS)


def mask(rng: np.random.Generator, shape: tuple[int, int] = SHAPE, void: int = IGNORE) -> Mask:
    """Two areas, one to three boxes and a spot without a class; H W."""
    height, width = shape
    drawn = np.zeros(shape, np.uint8)
    drawn[rng.integers(height // 3, 2 * height // 3) :] = 1
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        drawn[top : top + rng.integers(4, 9), left : left + rng.integers(4, 9)] = 2
    top, left = rng.integers(0, height - 3), rng.integers(0, width - 3)
    drawn[top : top + 3, left : left + 3] = void
    return drawn


def image(mask: Mask, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The colours of its classes, not quite; H W 3."""
    colours = COLOURS[np.where(mask < CLASSES, mask, 0)] + rng.normal(0, 40, (*mask.shape, 3))
    return colours.clip(0, 255).astype(np.uint8)


class Drawn:
    """A pool of scenes that lies in memory: ids, images and masks; a pass sees no masks in it."""

    raw = True

    def __init__(self, units: int) -> None:
        rng = np.random.default_rng(0)
        self.ids = [f"scene-{row:03d}" for row in range(units)]
        self.masks = [mask(rng) for _ in range(units)]
        self.images = np.stack([image(each, rng).transpose(2, 0, 1) for each in self.masks])

    def shards(self, rows: int) -> list[Shard]:
        """All of it in shards of so many rows."""
        return cut({"drawn": [1] * len(self.ids)}, rows)

    def decoded(self, rows: Sequence[int]) -> Decoded:
        """The images of these rows."""
        return Decoded([self.ids[row] for row in rows], self.images[list(rows)], {})

    def read(self, shard: Shard, keep: Container[str] | None = None) -> pa.Table:
        """As `Images.read`; an image is its row."""
        rows = range(shard.first_group, shard.first_group + shard.groups)
        kept = [row for row in rows if keep is None or self.ids[row] in keep]
        return pa.table({"id": [self.ids[row] for row in kept], "image": kept})

    def decode(self, rows: pa.Table) -> Decoded:
        return self.decoded(rows["image"].to_pylist())

    def stored(self, rows: pa.Table) -> Iterator[tuple[str, object]]:
        """As `Images.stored`."""
        return stored_raw(self.decode(rows))

    def ids_of(self, shard: Shard) -> pa.ChunkedArray:
        return self.read(shard)["id"]


class Scenes(Dataset):
    """Scenes as a dataset: 24 in the pool and 6 test images, always the same."""

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})

    def files(self) -> list[str]:
        return []

    def source(self) -> Source:
        drawn = Drawn(30)
        labels = [encode(each) for each in drawn.masks]

        def units(split: str, rows: range) -> Units:
            ids = [row_id(split, row) for row in rows]
            return Units(ids, [labels[row] for row in rows], [drawn.images[row] for row in rows])

        return Source(
            classes=["above", "below", "box"],
            pool=units("pool", range(24)),
            test=units("test", range(24, 30)),
            origin="drawn",
            licence="none",
            masks=MaskDecoding(values={number: number for number in (0, 1, 2, IGNORE)}),
        )
