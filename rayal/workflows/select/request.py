"""What `rayal select` is asked for."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from rayal.parts import Part
from rayal.settings import Settings
from rayal.strategies.base import Strategy


class Request(Settings):
    """What is to be selected from a pass; files as in `id_file`."""

    strategy: Annotated[Strategy, Part("strategies")]
    """One whose scores the pass has, or what its `select` reads."""
    budget: float = Field(gt=0)
    """What may be spent: in units, or in the unit of `costs`."""
    seed: NonNegativeInt = 0
    """Breaks ties, and draws where a strategy draws."""
    cycle: NonNegativeInt = 0
    """Cycle of the run whose pass it is, from 0: ties and draws are then those of its select stage.
    """
    labeled: str | None = None
    """File of ids that are not selected, and which a strategy may want to be far from; null: none.
    """
    costs: str | None = None
    """File of ids and the cost of each; null: every unit costs 1."""
    per_class: PositiveInt | None = None
    """Most units of one predicted class; null: any number."""
    groups: str | None = None
    """File of ids and the group of each, such as the video it is from; null: no groups."""
    per_group: PositiveInt | None = None
    """Most units of one group; null: any number."""
    min_distance: float | None = Field(default=None, ge=0)
    """Least Euclidean distance of a unit's features from those labeled and selected before it; 0:
    any, and how far they are is told; null: any."""

    @property
    def name(self) -> str:
        """Of the strategy, as columns call it."""
        return self.strategy.part_name()

    @property
    def ranks(self) -> bool:
        """Whether the highest scores are taken, one by one."""
        return self.strategy.ranks(one_price=self.costs is None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        limited = (self.per_class, self.per_group, self.min_distance) != (None, None, None)
        if limited and not self.ranks:
            yield (
                f"{self.name} does not rank units, it selects them together: per_class, per_group"
                " and min_distance are for strategies with a score, such as entropy"
            )
        if (self.groups is None) != (self.per_group is None):
            yield "groups and per_group are given together: the file, and how many of each"
