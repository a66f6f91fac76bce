"""Random polygons of random images (Mittal et al., "Parting with Illusions about Deep Active
Learning", 2019), the baseline of polygon-level labeling."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rayal.selection.candidates import Candidates
from rayal.strategies.base import RegionStrategy

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region


class RandomPolygon(RegionStrategy):
    """Every region of an image is as likely as the others."""

    def best(
        self,
        pool: Candidates,
        place: int,
        regions: "Mapping[int, Region]",
        rng: np.random.Generator,
    ) -> int:
        numbers = sorted(regions)
        return numbers[int(rng.integers(len(numbers)))]
