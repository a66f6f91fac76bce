"""What is looked at before a label is paid for."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, PositiveInt

from rayal.data.tasks.base import Task
from rayal.parts import Contradiction
from rayal.settings import Settings
from rayal.strategies.base import Strategy

OWN_SELECT = (
    "selects units together, each for the sake of the others, and not down a ranking; choose a"
    " strategy with a score, such as entropy, or null here"
)
"""Why a strategy with a `select` of its own has no limits: what it chose would no longer be what it
means, were some of it taken out afterwards."""


class Guards(Settings):
    """Units that are not worth their label, and are passed over: near-duplicates, too many of one
    class, images that are there twice. Without any of it all units are bought as they rank.

    `per_class` and `min_distance` mean what they mean for `rayal select`.
    """

    min_distance: float | None = Field(default=None, ge=0)
    """Least Euclidean distance of a unit's features, by the model that was just trained, from those
    labeled and chosen before it; 0: any, and how far they are is recorded; null: nobody looks."""
    per_class: PositiveInt | None = None
    """Most units of one predicted class in each cycle; null: any number."""
    test_images: Literal["keep", "leave_out"] = "keep"
    """Images of the pool that are test images too, pixel for pixel or byte for byte: `leave_out`
    never buys one, and refuses those in `labeled`; with `keep` a warning says how many there
    are."""
    same_images: Literal["keep", "leave_out"] = "keep"
    """Images of the pool with the same content: `leave_out` buys one of them only, the first; with
    `keep` a warning says how many there are."""

    @property
    def walks(self) -> bool:
        """Whether units are passed over on the way down a ranking."""
        return self.min_distance is not None or self.per_class is not None

    @property
    def leaves_out(self) -> bool:
        """Whether some images are no candidates at all."""
        return "leave_out" in (self.test_images, self.same_images)

    def contradictions(
        self, task: Task, strategy: Strategy, one_price: bool
    ) -> Iterator[Contradiction]:
        """What cannot work with this task and strategy; `one_price`: every unit costs 1."""
        for field in ("min_distance", "per_class"):
            value = getattr(self, field)
            if value is None:
                continue
            if not strategy.ranks(one_price):
                yield Contradiction(
                    ("guards", field), f"{value:g}, but {strategy.part_name()!r} {OWN_SELECT}"
                )
            elif field == "per_class" and task.dense:
                yield Contradiction(
                    ("guards", field),
                    f"{value}, but task {task.part_name()!r} predicts a class for each pixel, none"
                    " for an image; set it to null",
                )
