"""Random polygons of random images (Mittal et al., "Parting with Illusions about Deep Active
Learning", 2019), the baseline of polygon-level labeling."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rayal.selection.scored import Scored
from rayal.strategies.base import RegionStrategy

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region


class RandomPolygon(RegionStrategy):
    """Every region of an image is as likely as the others."""

    def best(
        self,
        pool: Scored,
        place: int,
        regions: "Mapping[int, Region]",
        rng: np.random.Generator,
    ) -> int:
        numbers = sorted(regions)
        return numbers[int(rng.integers(len(numbers)))]
