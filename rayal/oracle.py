"""The contract of an oracle: who answers with labels, and what each answer costs."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from rayal.dataset import Store
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
