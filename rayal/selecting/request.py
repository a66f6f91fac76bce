"""What `rayal select` is asked for."""

import math
from dataclasses import dataclass

from rayal.errors import UsageError
from rayal.strategy import Strategy


@dataclass(frozen=True)
class Request:
    """What is to be selected from a pass; files as in `id_file`."""

    strategy: Strategy
    budget: float
    """In units, or in the unit of `costs`."""
    seed: int = 0
    cycle: int = 0
    """Of the run whose pass it is: ties and draws are then those of its select stage."""
    labeled: str | None = None
    """Ids that are not selected, and which a strategy may want to be far from."""
    costs: str | None = None
    """Ids and the cost of each; null: every unit costs 1."""
    per_class: int | None = None
    """Most units of one predicted class."""
    groups: str | None = None
    """Ids and the group of each, such as the video it is from."""
    per_group: int | None = None
    """Most units of one group."""
    min_distance: float | None = None
    """Least Euclidean distance of a unit's features from those labeled and selected before it."""

    @property
    def name(self) -> str:
        """Of the strategy, as columns call it."""
        return self.strategy.part_name()

    @property
    def limited(self) -> bool:
        """Whether units may be passed over on the way down."""
        return (self.per_class, self.per_group, self.min_distance) != (None, None, None)

    def check(self) -> None:
        """Raises UsageError for what cannot be asked, whatever the pass."""
        problems = []
        if not (math.isfinite(self.budget) and self.budget > 0):
            problems.append(f"budget: {self.budget} buys nothing; it must be a number above 0")
        if self.limited and not self.strategy.ranks():
            problems.append(
                f"{self.name} does not rank units, it selects them together: per_class, per_group"
                " and min_distance are for strategies with a score, such as entropy"
            )
        if (self.groups is None) != (self.per_group is None):
            problems.append(
                "groups and per_group are given together: the file, and how many of each"
            )
        for key in ("per_class", "per_group"):
            if (limit := getattr(self, key)) is not None and limit < 1:
                problems.append(f"{key}: {limit} would leave nothing; it must be 1 or more")
        if self.min_distance is not None and not (
            math.isfinite(self.min_distance) and self.min_distance > 0
        ):
            problems.append(f"min_distance: {self.min_distance} must be a number above 0")
        if problems:
            raise UsageError.of(problems, "the selection")
