"""Strategies that choose regions of images in place of images.

Source: Mittal et al., "Parting with Illusions about Deep Active Learning" (2019), polygon-level
labeling: images at random, and of each of them one region, whose polygon is bought and paid for by
its clicks; the rest of the image is ignored. As in the paper, the choice knows where the true
regions are, which only a simulation can.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayal.data.tasks.base import Task, TaskName
from rayal.errors import UsageError
from rayal.labeling.oracles.base import Oracle
from rayal.labeling.regions import region_id, region_of
from rayal.selection.greedy import tie_order
from rayal.selection.scored import Scored
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region


class RegionStrategy(Strategy):
    """One region of each image, image by image in random order, until the budget is spent.

    An image has its next turn when all others have had theirs.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})

    @abstractmethod
    def best(
        self,
        pool: Scored,
        place: int,
        regions: "dict[int, Region]",
        rng: np.random.Generator,
    ) -> int:
        """The number of the region to buy among those left of the image at this place of `pool`."""

    def score(self, s: Signals) -> None:
        """Regions are compared where they are known: on the driver."""

    def ranks(self, one_price: bool = True) -> bool:
        return False

    def select(self, pool: Scored, budget: float, rng: np.random.Generator) -> NDArray[np.intp]:
        raise UsageError(
            f"strategy {self.part_name()!r} chooses regions, which only the oracle of a run knows;"
            " use it in a run"
        )

    def contradictions(self, task: Task, oracle: Oracle, ensemble: int) -> Iterator[str]:
        yield from super().contradictions(task, oracle, ensemble)
        if not oracle.has_regions():
            yield f"chooses regions, and oracle {oracle.part_name()!r} knows none; use clicks"

    def check(self, ids: Collection[str]) -> None:
        known = set(ids)
        for image in ids:
            if place := region_of(image, known):
                raise UsageError(
                    f"image {image!r} has the name of region {place.number} of image"
                    f" {place.image!r}; rename one of them to buy regions"
                )

    def select_regions(self, pool: Scored, budget: float, rng: np.random.Generator) -> list[str]:
        """Units to buy, in order, whose clicks fit the budget."""
        order, taken = tie_order(pool, rng).tolist(), dict[int, set[int]]()
        chosen, spent = list[str](), 0.0
        while order:
            again = []
            for place in order:
                image = str(pool.ids[place])
                left = {
                    number: region
                    for number, region in pool.regions(image).items()
                    if number not in taken.get(place, ())
                }
                if not left:
                    continue
                number = self.best(pool, place, left, rng)
                cost = left[number].clicks
                if spent >= budget if pool.overshoot else spent + cost > budget:
                    return chosen
                chosen.append(region_id(image, number))
                spent += cost
                taken.setdefault(place, set()).add(number)
                again.append(place)
            order = again
        return chosen
