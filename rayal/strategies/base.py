"""The contract of a strategy: what it needs to know, how it scores a batch, how it selects.

A strategy subclasses `Strategy`; `PixelStrategy` where it has one number for each prediction, so
that it is for pixels too; or `RegionStrategy`, where it chooses regions in place of images.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from rayal.data.pixels import Pixels, per_image
from rayal.data.tasks.base import ForTasks, Task, TaskName
from rayal.errors import UsageError, quoted
from rayal.labeling.oracles.base import Oracle
from rayal.labeling.regions import parse_region, region_id
from rayal.models.companions.base import CompanionSpec, EmbeddingSpec
from rayal.parts import suggest
from rayal.selection.candidates import Candidates, Regions, take_highest
from rayal.selection.greedy import tie_order
from rayal.signals.batch import Signals
from rayal.signals.networks import Reference
from rayal.signals.signal import (
    SIGNAL_NAMES,
    SIGNALS,
    Requirement,
    SignalName,
    kept_name,
    required,
)
from rayal.storage.stage_file import FileLocation
from rayal.training.fits.base import FitSpec

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region

Select = Callable[[Candidates, float, np.random.Generator], Sequence[str]]
"""`Strategy.select`, or what stands in for it."""


class Strategy(ForTasks):
    """One way to decide which units are labeled next; its fields are its hyperparameters.

    `score` runs on the workers, batch by batch; `select` runs once on the driver. Both are pure:
    the same batch, seed and cycle give the same answer wherever they run.
    """

    kind: ClassVar[str] = "strategies"
    needs: ClassVar[frozenset[SignalName]] = frozenset()
    """Signals that `score` reads; reading another one is an error."""
    keeps: ClassVar[frozenset[SignalName]] = frozenset()
    """Signals that `select` reads: one small row per unit, stored by the pass."""
    select_power: ClassVar[int] = 1
    """Of the pool's size, the highest power that the time of `select` grows by: 2 where every unit
    is compared with every other."""
    scans_labeled: ClassVar[bool] = False
    """Whether `select` reads what the pass keeps of the labeled units too."""
    relabels: ClassVar[bool] = False
    """Whether labeled units that the oracle can be asked for again are candidates too, which come
    with their votes; such a strategy `scans_labeled`."""
    draws_at_random: ClassVar[bool] = False
    """Whether what it chooses is a random sample of the pool, so that labels bought after a model
    was trained measure it."""
    divides_images: ClassVar[bool] = False
    """Whether its units are regions of images: what it chooses is not compared with images."""

    def kept(self) -> frozenset[SignalName]:
        """`keeps`, less what this configuration does without."""
        return self.keeps

    def kept_names(self) -> frozenset[str]:
        """What the pass calls the rows of `kept`."""
        embeds = self.embeds()
        companion = None if embeds is None else embeds.name
        return frozenset(kept_name(signal, companion) for signal in self.kept())

    def signals(self) -> frozenset[SignalName]:
        """All that it reads: `needs`, and what it keeps."""
        return self.needs | self.kept()

    def requires(self) -> frozenset[Requirement]:
        """What these signals require."""
        return required(self.signals())

    def files(self) -> dict[str, str]:
        """Field -> file that decides what is selected: a run is tied to its content."""
        return {}

    def contradictions(self, task: Task, oracle: Oracle | None, ensemble: int) -> Iterator[str]:
        """Why it cannot be used as it is configured, on a task that it supports, beside this oracle
        and with so many models; each goes on from the strategy's name. No oracle: in a pass over a
        pool, where nothing is labeled."""
        if unknown := sorted(self.signals() - SIGNAL_NAMES):
            yield f"reads the signal {unknown[0]!r}, which is none; {suggest(unknown[0], SIGNALS)}"
            return
        if "embedding" in self.signals() and self.embeds() not in (
            *self.companions(),
            *self.fits(),
        ):
            yield "reads an embedding of no companion; return one that it asks for by `embeds`"
        if "dense" in self.requires() and not task.dense:
            yield "reads a signal of dense networks, which classify every pixel; use segmentation"
        if "ensemble" in self.requires() and ensemble < 2:
            yield (
                "needs an ensemble; set `ensemble` to 2 or more (5 in the literature), or in"
                " `rayal score` give its other members with --member (in Python: members=)"
            )

    def check(self, ids: Collection[str]) -> None:
        """Raises what is wrong for these images whatever the model: asked before any training."""

    def reference(self, cycle: int) -> Reference | None:
        """The model behind `previous_probs` in this cycle; None where it reads none."""
        return None

    def companions(self) -> tuple[CompanionSpec, ...]:
        """What has to live beside the model through training, whatever the scheme."""
        return ()

    def fits(self) -> tuple[FitSpec, ...]:
        """What has to be made of labeled units and candidates after the training; `score` finds it
        by `Signals.companion`."""
        return ()

    def embeds(self) -> EmbeddingSpec | None:
        """Whose embedding the signal `embedding` is, one of its `companions` or `fits`; None where
        it reads none."""
        return None

    def view(self, s: Signals, owner: str) -> Signals:
        """This batch as the strategy may read it; `owner` is what messages call it."""
        return s.declared_by(owner, self.signals(), self.reference(s.cycle), self.embeds())

    def score(self, s: Signals) -> Tensor | None:
        """N or N H W, higher = label sooner; None where `select` does all the work."""
        return None

    def ranks(self, one_price: bool = True) -> bool:
        """Whether it takes the highest scores, for which the pool need not be in memory.

        `one_price`: every unit costs 1.
        """
        return type(self).select is Strategy.select

    def buys_fewer(self) -> bool:
        """Whether its `select` may leave a part of the budget unspent though units are left; else
        that is a mistake, which ends the run."""
        return False

    def asks_holders(self) -> bool:
        """Whether its `select` asks `pool.lies`, so that what the pass kept of the pool may be
        divided among machines."""
        return False

    def units(self, images: Iterable[str], regions: Regions) -> Iterable[str]:
        """All units that it can choose of these images: here the images themselves."""
        return images

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        """Units to label, in order of preference, whose costs fit the budget."""
        return pool.ids[take_highest(pool, budget, rng)]

    def weighed(self, pool: Candidates) -> NDArray[np.float64] | None:
        """M, higher = label sooner, for people to see: the scores of the pass, or those that
        `select` makes of what only it knows, such as votes; None where there are none."""
        return pool.scores

    def selector(self, trained: Mapping[str, FileLocation]) -> Select:
        """What selects in a run: `select`, unless the choice takes more than what the pass kept.

        `trained` are the files of the model that the pass asked: its `weights`, and each companion
        by name.
        """
        return self.select


class PixelStrategy(Strategy):
    """Ranks images by one number for each prediction; of a dense task, by those of its pixels.

    Mittal et al., "Parting with Illusions about Deep Active Learning" (2019), found the number of
    pixels whose entropy is above 0.6 better than mean and maximum; the unit of 0.6 is not stated,
    nats presumably. A number of pixels is larger in larger images.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})

    pixels: Pixels = "mean"
    """What an image's score is in a dense task: the `mean` over its pixels, the `max`, or how many
    are `above` the threshold."""
    threshold: float | None = None
    """Above which number a pixel counts with `pixels: above`, in the unit of the strategy's own
    numbers: for entropies the paper's 0.6; null: with `mean` and `max`."""

    @model_validator(mode="after")
    def _known_threshold(self) -> Self:
        if self.pixels == "above" and self.threshold is None:
            raise ValueError(
                "pixels: above needs a threshold; set it, for entropies to 0.6 as in the literature"
            )
        if self.pixels != "above" and self.threshold is not None:
            raise ValueError(
                f"threshold {self.threshold:g} counts nothing with pixels: {self.pixels}; set"
                " pixels to above, or threshold to null"
            )
        return self

    @abstractmethod
    def values(self, s: Signals) -> Tensor:
        """N or N H W, higher = label sooner."""

    def score(self, s: Signals) -> Tensor:
        return per_image(self.values(s), s.valid, self.pixels, self.threshold or 0.0)


class RegionStrategy(Strategy):
    """One region of each image, image by image in random order, until the budget is spent.

    An image has its next turn when all others have had theirs.

    Source: Mittal et al., "Parting with Illusions about Deep Active Learning" (2019), polygon-level
    labeling: images at random, and of each of them one region, whose polygon is bought and paid for
    by its clicks; the rest of the image is ignored. As in the paper, the choice knows where the
    true regions are, which only a simulation can (oracle clicks); people are asked for the tiles of
    a grid, each at the same price (oracle people).
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    divides_images: ClassVar[bool] = True

    @abstractmethod
    def best(
        self,
        pool: Candidates,
        place: int,
        regions: "Mapping[int, Region]",
        rng: np.random.Generator,
    ) -> int:
        """The number of the region to buy among those left of the image at this place of `pool`."""

    def contradictions(self, task: Task, oracle: Oracle | None, ensemble: int) -> Iterator[str]:
        yield from super().contradictions(task, oracle, ensemble)
        if oracle is not None and not oracle.has_regions():
            yield (
                f"chooses regions, and oracle {oracle.part_name()!r} knows none; use clicks, or"
                " people with tiles"
            )

    def check(self, ids: Collection[str]) -> None:
        known = set(ids)
        for image in ids:
            if place := parse_region(image, known):
                raise UsageError(
                    f"image {quoted(image)} has the name of region {place.number} of image"
                    f" {quoted(place.image)}; rename one of them to buy regions"
                )

    def score(self, s: Signals) -> None:
        """Regions are compared where they are known: on the driver."""

    def units(self, images: Iterable[str], regions: Regions) -> Iterable[str]:
        return (region_id(image, number) for image in images for number in regions(image))

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> list[str]:
        order, taken = tie_order(pool, rng).tolist(), dict[int, set[int]]()
        chosen, spent = list[str](), 0.0
        while order:
            again = []
            for place in order:
                image = pool.ids[place]
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


def columns(strategies: Iterable[Strategy]) -> dict[str, Strategy]:
    """Strategies by the name of their column: a second one of the same name becomes `cod#2`."""
    found: dict[str, Strategy] = {}
    for strategy in strategies:
        name, count = strategy.part_name(), 1
        while (column := name if count == 1 else f"{name}#{count}") in found:
            count += 1
        found[column] = strategy
    return found
