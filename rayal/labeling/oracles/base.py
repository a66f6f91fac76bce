"""The contract of an oracle: who answers with labels, and what each answer costs."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.data.card import Card
from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.errors import UsageError
from rayal.labeling.budget import Budget, CostUnit
from rayal.parts import Component, Contradiction
from rayal.storage.folder import FileRecord, Folder

if TYPE_CHECKING:
    from rayal.labeling.clicks import Region
    from rayal.labeling.votes import Vote


class Label(NamedTuple):
    """One answer."""

    value: LabelValue | None
    """A class, or a mask; None where the oracle says that the unit cannot be labeled."""
    cost: float
    """In the budget's unit."""


class Oracle(Component):
    """Answers questions about units; the only reader of hidden labels besides the evaluator."""

    simulated: ClassVar[bool] = False
    """Whether it answers from the labels of the dataset, which may then be shown."""
    unit: ClassVar[CostUnit] = "samples"
    """What its costs are counted in, unless its options say it, see `counts`."""
    asked: ClassVar[bool] = False
    """Whether it answers somebody who asks for so many units at a time, so that the budget needs no
    amounts."""
    asks_people: ClassVar[bool] = False
    """Whether people answer, who are shown what the model suggests and may leave units out; else
    every unit is answered at once."""

    @abstractmethod
    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        """A label for every id asked, or LabelsPending while people still work on them.

        `out` is the folder of the stage, for what an oracle exchanges with people.
        """

    def answer_again(
        self,
        store: Store,
        ids: Sequence[str],
        earlier: "Mapping[str, Sequence[Vote]]",
        out: Folder,
    ) -> dict[str, Label]:
        """As `answer`, where units that have a label are among those asked: `earlier` has their
        votes so far, which count for the label and were paid for.

        Raises UsageError where the oracle has nothing to add to a label.
        """
        raise UsageError(f"oracle {self.part_name()!r} answers once; use recorded or people")

    def answers_again(self) -> bool:
        """Whether it can be asked by `answer_again`."""
        return type(self).answer_again is not Oracle.answer_again

    def costs_again(
        self, store: Store, votes: "Mapping[str, Sequence[Vote]]"
    ) -> Mapping[str, float]:
        """Of labeled units, given with their votes so far, those that can be asked for again, and
        what each will cost then, as far as that is known: all of them at their `costs`, where it
        answers again."""
        if not self.answers_again():
            return {}
        units = list(votes)
        return dict(zip(units, map(float, self.costs(store, units)), strict=True))

    def evidence(self, out: Folder) -> dict[str, FileRecord]:
        """What its answers were made from, by name: files that it puts into the folder of the
        stage, to be recorded with them."""
        return {}

    def contradictions(self, budget: Budget) -> Iterator[Contradiction]:
        """What of a budget it cannot serve."""
        if budget.unit != (own := self.counts()):
            yield Contradiction(
                ("budget", "unit"),
                f"{budget.unit}, but oracle {self.part_name()!r} counts costs in {own}; give"
                " both the same",
            )
        if budget.balanced and not self.knows_classes():
            yield Contradiction(("budget", "balanced"), self._unknown_classes())

    def counts(self) -> CostUnit:
        """What its costs are counted in."""
        return self.unit

    def estimates(self) -> bool:
        """Whether `costs` are a guess, in place of which a run takes the mean of what it has paid
        so far."""
        return False

    def check(self, card: Card) -> None:
        """Raises UsageError where its options do not fit the dataset, before anything is asked."""

    def known_classes(self, store: Store) -> Mapping[str, int]:
        """Id -> class index of the whole pool before anything is asked, for `budget.balanced`.

        Raises UsageError, as people cannot know; an oracle that can overrides this.
        """
        raise UsageError(f"budget.balanced: {self._unknown_classes()}")

    def knows_classes(self) -> bool:
        """Whether it can be asked for `known_classes`."""
        return type(self).known_classes is not Oracle.known_classes

    def _unknown_classes(self) -> str:
        return (
            f"oracle {self.part_name()!r} does not know classes beforehand; set it to false, or"
            " oracle to simulated"
        )

    def costs(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """What each unit will cost, as far as it is known before it is asked for: 1."""
        return np.ones(len(ids))

    def has_regions(self) -> bool:
        """Whether it can be asked for `regions`."""
        return type(self).regions is not Oracle.regions

    def regions(self, store: Store, ids: Sequence[str]) -> "dict[str, list[Region]]":
        """Image -> its regions, which can be asked for one by one, see `rayal.labeling.regions`.

        Raises UsageError where the oracle knows none.
        """
        raise UsageError(f"oracle {self.part_name()!r} knows no regions; use oracle: clicks")
