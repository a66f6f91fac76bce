"""What can be bought in a cycle: what units cost, and which regions of images are left."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from rayal.data import masks
from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.errors import DataError, quoted
from rayal.experiment.experiment import Experiment
from rayal.labeling.regions import UnitName, parse_unit, region_id
from rayal.labeling.votes import NO_VOTES, Vote
from rayal.selection.candidates import Candidates, bought
from rayal.strategies.base import Strategy

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region


ASKED = 256
"""Units whose costs are asked for at a time."""


class Offer:
    """The oracle's offers to one experiment, less what was bought."""

    def __init__(
        self,
        x: Experiment,
        store: Store,
        bought: Collection[str],
        mean: float | None = None,
        votes: Mapping[str, Sequence[Vote]] = NO_VOTES,
    ) -> None:
        """`bought`: units that were answered or refused; `mean`: what an answer has cost so far,
        None where none was paid for; `votes`: what was said of those that are labeled, where a
        strategy wants to ask for them again."""
        self.oracle, self.store, self.bought, self.votes = x.oracle, store, bought, votes
        self.mean = mean if x.oracle.estimates() else None
        """What stands in place of an oracle's guess."""
        self.overshoot = x.budget.overshoot
        self.one_price = x.budget.unit == "samples"
        """Whether every unit costs 1."""

    def costs(self, units: Sequence[str]) -> NDArray[np.float64]:
        """What each unit costs."""
        if self.one_price:
            return np.ones(len(units))
        if self.mean is not None:
            return np.full(len(units), self.mean)
        costs = np.asarray(self.oracle.costs(self.store, units))
        if again := [place for place, unit in enumerate(units) if unit in self._again]:
            costs = costs.astype(np.float64)
            costs[again] = [self._again[units[place]] for place in again]
        if costs.shape != (len(units),) or costs.dtype.kind not in "iuf" or not (costs >= 0).all():
            raise DataError(
                f"oracle {self.oracle.part_name()!r} gave costs {costs!r:.80} for {len(units)}"
                " units; costs returns a number for each, at least 0"
            )
        return costs.astype(np.float64, copy=False)

    def closed(self, strategy: Strategy) -> Collection[str]:
        """The units that this strategy cannot choose: what was bought, less what it may ask for
        again."""
        return {*self.bought} - self._again.keys() if strategy.relabels else self.bought

    @cached_property
    def _again(self) -> Mapping[str, float]:
        """What can be asked for again, and what each costs."""
        return self.oracle.costs_again(self.store, self.votes)

    def offered(self, strategy: Strategy, pool: Candidates) -> Candidates:
        """The candidates with what they, and what is left of them, cost; and what was said of
        labeled units, where the strategy asks for those again."""
        votes = self.votes if strategy.relabels else NO_VOTES
        return replace(
            pool, price=self.costs, regions=self.regions, overshoot=self.overshoot, votes=votes
        )

    def affordable(self, units: Sequence[str], budget: float) -> tuple[int, float]:
        """How many of these units, bought one after the other, the budget is for, and their cost.

        Costs are asked for a few at a time: each may take as long as an image takes to read.
        """
        count, spent = 0, 0.0
        for start in range(0, len(units), ASKED):
            costs = self.costs(units[start : start + ASKED])
            some = bought(costs, budget - spent, self.overshoot)
            count, spent = count + some, spent + float(costs[:some].sum())
            if some < len(costs):
                break
        return count, spent

    def regions(self, image: str) -> "dict[int, Region]":
        """By number the regions of an image that are left."""
        found = self.oracle.regions(self.store, [image])[image]
        gone = self._gone.get(image, set())
        left = {number: region for number, region in enumerate(found) if number not in gone}
        if not left or self.one_price or not self.oracle.estimates():
            return left
        (price,) = self.costs([region_id(image, next(iter(left)))])  # all cost about the same
        return {n: each._replace(clicks=max(1, round(price))) for n, each in left.items()}

    @cached_property
    def _gone(self) -> dict[str, set[int]]:
        gone: dict[str, set[int]] = defaultdict(set)
        images = set(self.store.pool.ids())
        for unit in self.bought:
            place = _known(unit, images)
            if place.number is not None:
                gone[place.image].add(place.number)
        return dict(gone)


def of_images(labels: Mapping[str, LabelValue], store: Store) -> dict[str, LabelValue]:
    """Image -> label, in the order of the pool, of images and regions of images.

    Regions are laid over one another by their numbers, the largest first, and over a label of the
    whole image.
    """
    images = store.pool.ids()
    known = set(images)
    parts = defaultdict[str, dict[int, LabelValue]](dict)
    for unit, label in labels.items():
        place = _known(unit, known)
        parts[place.image][-1 if place.number is None else place.number] = label
    return {image: _whole(image, parts[image]) for image in images if image in parts}


def _whole(image: str, parts: Mapping[int, LabelValue]) -> LabelValue:
    if len(parts) == 1:
        return next(iter(parts.values()))
    drawn = [parts[number] for number in sorted(parts)]
    if wrong := [label for label in drawn if not isinstance(label, bytes)]:
        raise DataError(
            f"image {quoted(image)} has {len(drawn)} labels, of which {quoted(wrong[0])} is no mask"
            " that could be laid over the others"
        )
    return masks.merged(cast(list[bytes], drawn))


def _known(unit: str, images: Collection[str]) -> UnitName:
    place = parse_unit(unit, images)
    if place is None:
        raise DataError(f"{quoted(unit)} lies in no image of the pool; use the dataset of this run")
    return place
