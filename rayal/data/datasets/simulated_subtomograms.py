"""Made-up cryo-ET subtomograms, for first runs on volumes and for tests."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from rayal.data.datasets._mrc import write_volume
from rayal.data.datasets._particles import SHAPES, density, measured, turn
from rayal.data.datasets.base import Dataset
from rayal.data.datasets.mrc_folder import NAMES
from rayal.data.images import Volume
from rayal.data.source import Source, Units, row_id
from rayal.randomness import numpy_generator


class SimulatedSubtomograms(Dataset):
    """Made-up volumes of cryo-ET: one of ten solid shapes turned at random, in noise.

    The wedge is missing that no microscope can tilt to. Needs no files; every volume follows from
    its id.

    The density is scaled to mean 0 and variance 1, so that the noise, of variance 1 / `snr`, says
    nothing about the class; then both lose the wedge: signal-to-noise ratio is variance of the
    signal over variance of the noise, before that.

    *Source*: the missing wedge and the noise of Wang et al., AAAI 2022, third task.
    *Differences*: shapes in place of proteins, white noise, no contrast transfer function, one
    particle in a volume. So no number on it compares with a published one.
    """

    layout: ClassVar[str] = "nothing"

    size: int = Field(default=32, ge=8)
    """Voxels along each side."""
    kinds: int = Field(default=len(SHAPES), ge=2, le=len(SHAPES))
    """Classes: the first so many shapes."""
    snr: float | None = Field(default=0.05, gt=0, le=1e6)
    """Signal-to-noise ratio; null: no noise."""
    tilt: float = Field(default=60.0, gt=0, le=90)
    """Degrees to which the specimen is tilted, to both sides; 90: nothing is missing."""
    shift: float = Field(default=2.0, ge=0)
    """Voxels by which a particle is off the middle at most, along each axis."""
    pool: PositiveInt = 1500
    """Volumes in the pool, as many of each class as of the others, or one more."""
    test: PositiveInt = 500
    """Test volumes, likewise."""
    seed: int = 0
    """Another one makes other volumes."""

    def files(self) -> list[str]:
        return []

    def source(self) -> Source:
        return Source(
            classes=self.names,
            pool=self._units("train", self.pool),
            test=self._units("test", self.test),
            origin="simulated by rayal",
            licence="free",
        )

    @property
    def names(self) -> Sequence[str]:
        """The classes."""
        return [*SHAPES][: self.kinds]

    def volume(self, unit: str, label: int) -> Volume:
        """C D H W with one channel, the same whenever it is asked for."""
        rng = numpy_generator(self.seed, "subtomogram", unit)
        shift = rng.uniform(-self.shift, self.shift, 3)
        found = density(self.names[label], self.size, turn(rng), shift)
        found = (found - found.mean()) / found.std()
        if self.snr is not None:
            found = found + rng.normal(scale=self.snr**-0.5, size=found.shape)
        return measured(found, self.tilt)[None].astype(np.float32)

    def write_mrc(self, root: Path) -> None:
        """The same volumes in the layout of `mrc_folder`. Needs the package mrcfile."""
        for split, count in (("train", self.pool), ("test", self.test)):
            for folder in NAMES:
                (root / split / folder).mkdir(parents=True)
            for number, (unit, label) in enumerate(zip(*self._listed(split, count), strict=True)):
                volume, text = (
                    root / split / folder / f"{beginning}{number}{ending}"
                    for folder, (beginning, ending) in NAMES.items()
                )
                write_volume(volume, self.volume(unit, label))
                text.write_text(json.dumps({"name": self.names[label]}))

    def _units(self, split: str, count: int) -> Units:
        ids, labels = self._listed(split, count)
        return Units(ids, labels, _Made(self, ids, labels))

    def _listed(self, split: str, count: int) -> tuple[list[str], list[int]]:
        """Ids and labels of a split."""
        return [row_id(split, row) for row in range(count)], [
            row % self.kinds for row in range(count)
        ]


class _Made:
    """The volumes of some units, each made when it is asked for."""

    def __init__(
        self, dataset: SimulatedSubtomograms, ids: Sequence[str], labels: Sequence[int]
    ) -> None:
        self.dataset, self.ids, self.labels = dataset, ids, labels

    def __iter__(self) -> Iterator[Volume]:
        return map(self.dataset.volume, self.ids, self.labels)
