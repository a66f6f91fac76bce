"""The most uncertain polygon of random images.

Source: Mittal et al., "Parting with Illusions about Deep Active Learning" (2019),
Random-Image-Entropy-Polygon. As in the paper the regions are those of the true mask.

Difference: the area is counted on the logit grid, where networks predict, and not in interpolated
pixels: what is kept of an image for the choice is then small.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat

from rayal.selection.candidates import Candidates
from rayal.signals.signal import SignalName
from rayal.strategies.base import RegionStrategy

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region


class RandomImageEntropyPolygon(RegionStrategy):
    """The region with the largest area of high entropy; of equals the largest polygon."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"grid_entropy"})
    threshold: NonNegativeFloat = 0.6
    """Entropy above which a place counts, in nats; the paper's 0.6 has no unit."""

    def best(
        self,
        pool: Candidates,
        place: int,
        regions: "Mapping[int, Region]",
        rng: np.random.Generator,
    ) -> int:
        uncertain = grid_of(pool.kept["grid_entropy"][place]) > self.threshold
        areas = {number: area(region, uncertain) for number, region in sorted(regions.items())}
        return max(areas, key=lambda number: (areas[number], -number))


def grid_of(row: NDArray[np.floating]) -> NDArray[np.floating]:
    """h w of the signal `grid_entropy`, one row of which is h, w, and the values."""
    height, width = (int(size) for size in row[:2])
    return row[2:].reshape(height, width)


def area(region: "Region", uncertain: NDArray[np.bool_]) -> int:
    """How many places of a grid, h w, are uncertain and have their centre in the region."""
    window, inside = region.window()
    rows, columns = (
        _centres(size, full) for size, full in zip(uncertain.shape, region.shape, strict=True)
    )
    here = [
        (at >= part.start) & (at < part.stop)
        for at, part in zip((rows, columns), window, strict=True)
    ]
    covered = inside[np.ix_(rows[here[0]] - window[0].start, columns[here[1]] - window[1].start)]
    return int((uncertain[np.ix_(here[0], here[1])] & covered).sum())


def _centres(places: int, pixels: int) -> NDArray[np.intp]:
    """The pixel in the middle of each place."""
    middles: NDArray[np.intp] = ((np.arange(places) + 0.5) * pixels / places).astype(np.intp)
    return middles
