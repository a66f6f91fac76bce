"""Answers at once from the labels that came with the dataset: the oracle of experiments."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import UsageError
from rayal.labeling.oracles.base import Label, Oracle
from rayal.storage.folder import Folder


class Simulated(Oracle):
    """Every unit has its true label and costs 1."""

    simulated: ClassVar[bool] = True

    def check(self, card: Card) -> None:
        if not card.labeled:
            people = "set oracle to people, or " if len(card.image.sides) == 2 else ""
            raise UsageError(
                f"oracle: simulated, but the pool of {card.name} has no labels; {people}ask with"
                " rayal.ActiveLearner"
            )

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        labels = store.labels("pool", ids)
        return {unit: Label(labels[unit], 1.0) for unit in ids}

    def known_classes(self, store: Store) -> Mapping[str, int]:
        return class_labels(store)


def class_labels(store: Store) -> dict[str, int]:
    """Id -> class of the whole pool; raises UsageError where labels are masks."""
    labels = store.labels("pool")
    classes = {unit: label for unit, label in labels.items() if isinstance(label, int)}
    if len(classes) < len(labels):
        raise UsageError(
            "budget.balanced: labels are masks, not classes of images; set it to false"
        )
    return classes
