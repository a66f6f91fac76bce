"""The contract of an oracle: who answers with labels, and what each answer costs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rayal.dataset import Store
from rayal.errors import UsageError
from rayal.parts import Component
from rayal.storage import Folder


class Label(NamedTuple):
    """One answer."""

    value: Any
    """A class index; None where the oracle says that the unit cannot be labeled."""
    cost: float
    """In the budget's unit."""


class Oracle(Component):
    """Answers questions about units; the only reader of hidden labels besides the evaluator."""

    @abstractmethod
    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        """A label for every id asked, or LabelsPending while people still work on them.

        `out` is the folder of the stage, for what an oracle exchanges with people.
        """

    def known_classes(self, store: Store) -> Mapping[str, int]:
        """Id -> class index of the whole pool before anything is asked, for `budget.balanced`.

        Raises UsageError, as people cannot know; an oracle that can overrides this.
        """
        raise UsageError(
            f"budget.balanced: oracle {self.part_name()!r} does not know classes beforehand;"
            " set it to false, or oracle to simulated"
        )
