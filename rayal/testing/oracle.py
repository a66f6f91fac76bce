"""The contract of an oracle: what it answers, and what it asks for it."""

from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from rayal.data.store import Store
from rayal.errors import LabelsPending
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.regions import region_id
from rayal.labeling.votes import Vote
from rayal.storage.folder import Folder
from rayal.testing.contract import PartContract
from rayal.testing.dataset import wrong_label
from rayal.testing.trainings import prepared

ASKED = 7
"""Images that it is asked about."""


class OracleContract(PartContract):
    """What every oracle promises. One that waits for people answers nothing here and is asked for
    its prices alone; to try its answers, override `store` and put them where it looks."""

    part: Oracle
    kind: ClassVar[str] = "oracle"

    @property
    def store(self) -> Store:
        """What it is asked about: masks where it has regions or counts clicks, else classes. A
        suite may set another."""
        return prepared(self.part.has_regions() or self.part.counts() == "clicks")

    def test_answers_what_it_is_asked(self) -> None:
        """Otherwise a label would be paid for and lost, or one appear that nobody bought."""
        store = self.store
        ids = store.pool.ids()[:ASKED]
        answers = self._answers(store, ids)
        if answers is None:
            return
        if missing := [unit for unit in ids if unit not in answers]:
            self.broken("an answer for every unit", f"there is none for {missing[0]!r}")
        if strange := [unit for unit in answers if unit not in set(ids)]:
            self.broken("answers for what it is asked", f"it answers {strange[0]!r} too")
        for unit, label in answers.items():
            if not isinstance(label, Label):
                self.broken("a Label for every unit", f"{unit!r} has a {type(label).__name__}")
            if problem := wrong_label(label.value, store):
                self.broken("labels of the dataset", f"that of {unit!r} {problem}")

    def test_is_asked_for_nothing(self) -> None:
        """The last cycle of a run may have nothing to buy."""
        store = self.store
        if answers := self._answers(store, []):
            self.broken("no answer where nothing is asked", f"it answers {list(answers)}")
        if len(costs := self.part.costs(store, [])):
            self.broken("no costs of no units", f"they are {costs}")

    def test_costs_are_what_they_were_said_to_be(self) -> None:
        """Otherwise a run would choose by other prices than it pays."""
        store = self.store
        units = self._units(store)
        costs = np.asarray(self.part.costs(store, units))
        if costs.shape != (len(units),):
            self.broken("one cost per unit", f"of {len(units)} it gives {costs.shape}")
        for unit, cost in zip(units, costs.tolist(), strict=True):
            if problem := self._wrong_cost(cost):
                self.broken(f"costs in {self.part.counts()}", f"that of {unit!r} {problem}")
        answers = self._answers(store, units) or {}
        for unit, said in zip(units, costs.tolist(), strict=True):
            if unit in answers and answers[unit].cost != said:
                self.broken(
                    "to cost what `costs` said",
                    f"{unit!r} was {said:g} and is {answers[unit].cost:g}",
                )

    def test_answers_the_same_again(self) -> None:
        """Otherwise a run that is resumed, or asks in other portions, would train on others."""
        store = self.store
        units = self._units(store)
        first = self._answers(store, units)
        if first is None:
            return
        again = self._answers(store, units[::-1]) or {}
        for unit in units[:2] + units[-2:]:
            again |= self._answers(store, [unit]) or {}
            if again.get(unit) != first.get(unit):
                self.broken(
                    "the same answer again, whatever else is asked", f"{unit!r} has another"
                )
        if different := [unit for unit in units if again.get(unit) != first.get(unit)]:
            self.broken("the same answer again, in any order", f"{different[0]!r} has another")

    def test_asks_again_for_what_it_says(self) -> None:
        """Otherwise a run would choose second answers that nobody gives, or at other prices."""
        store = self.store
        ids = store.pool.ids()[:ASKED]
        if costs := self.part.costs_again(store, {}):
            self.broken("no second answer without a first", f"it has one for {list(costs)[0]!r}")
        if (first := self._answers(store, ids)) is None:
            return
        given = {unit: label for unit, label in first.items() if label.value is not None}
        earlier = {
            unit: [Vote(unit, label.value)] * max(1, int(label.cost))
            for unit, label in given.items()
        }
        costs = self.part.costs_again(store, earlier)
        if not self.part.answers_again():
            if costs:
                self.broken("second answers, or no costs of them", f"costs_again gives {costs}")
            return
        with TemporaryDirectory() as folder:
            again = self.part.answer_again(store, list(costs), earlier, Folder(folder))
        if wrong := [u for u in costs if u not in again or again[u].cost != costs[u]]:
            self.broken("to cost what `costs_again` said", f"{wrong[0]!r} is {again.get(wrong[0])}")

    def test_regions_can_be_bought(self) -> None:
        """Otherwise a strategy would choose regions that nobody sells, or at other prices."""
        if not self.part.has_regions():
            return
        store = self.store
        images = store.pool.ids()[:ASKED]
        regions = self.part.regions(store, images)
        if sorted(regions) != sorted(images):
            self.broken("the regions of every image", f"it gives those of {sorted(regions)}")
        prices = {
            region_id(image, number): region.clicks
            for image, found in regions.items()
            for number, region in enumerate(found)
        }
        costs = self.part.costs(store, list(prices)).tolist()
        for (unit, clicks), cost in zip(prices.items(), costs, strict=True):
            if cost != clicks:
                self.broken("regions at the price they have", f"{unit!r}: {clicks}, not {cost}")

    def test_known_classes_are_those_it_answers(self) -> None:
        """Otherwise `budget.balanced` would balance something else, or crash."""
        if not self.part.knows_classes():
            return
        store = self.store
        if store.card.masks is not None:
            return
        known, ids = self.part.known_classes(store), store.pool.ids()
        if missing := [unit for unit in ids if unit not in known]:
            self.broken("the classes of the whole pool", f"that of {missing[0]!r} is missing")
        for unit, label in (self._answers(store, ids[:ASKED]) or {}).items():
            if label.value is not None and label.value != known[unit]:
                self.broken(
                    "the classes that it answers",
                    f"{unit!r} is {known[unit]} beforehand and {label.value!r:.80} when bought",
                )

    def test_contradictions_are_told(self) -> None:
        """Otherwise a run would count labels in one unit and spend another."""
        own = self.part.counts()
        other = "clicks" if own == "samples" else "samples"
        for unit, balanced, key in (
            (own, False, None),
            (other, False, ("budget", "unit")),
            (own, True, None if self.part.knows_classes() else ("budget", "balanced")),
        ):
            budget = Budget(initial=1, per_cycle=1, total=2, unit=unit, balanced=balanced)
            told = [each.key for each in self.part.contradictions(budget)]
            if (key not in told) if key else told:
                self.broken(
                    f"to contradict {key or 'nothing'} of a budget in {unit}"
                    f"{', balanced' if balanced else ''}",
                    f"it tells of {told or 'nothing'}",
                )

    def _units(self, store: Store) -> list[str]:
        """Images, and regions of them where it has some."""
        images = store.pool.ids()[:ASKED]
        if not self.part.has_regions():
            return images
        found = self.part.regions(store, images)
        return images + [region_id(image, n) for image in images for n in range(len(found[image]))]

    def _answers(self, store: Store, ids: Sequence[str]) -> dict[str, Label] | None:
        """None where it waits for people."""
        with TemporaryDirectory() as folder:
            try:
                return self.part.answer(store, ids, Folder(folder))
            except LabelsPending:
                return None

    def _wrong_cost(self, cost: float) -> str | None:
        if not np.isfinite(cost) or cost < 0:
            return f"is {cost:g}, not a finite number from 0 on"
        if self.part.counts() == "samples" and cost != 1:
            return f"is {cost:g}, and a sample is 1"
        whole = self.part.counts() == "seconds" or cost == int(cost)
        return None if whole else f"is {cost:g}, no whole number"
