"""Answers with votes that real annotators gave once: the oracle of experiments with noisy labels.

A unit that is asked for gets its next votes in the order of the file, whatever else is asked and
whenever; its label is what all its votes so far make by the stated rule.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, quoted
from rayal.labeling.agreement import Agreement
from rayal.labeling.budget import CostUnit
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.recorded_votes import Columns, recorded_votes
from rayal.labeling.votes import NO_VOTES, VOTES, Vote, dump_votes
from rayal.location import Location
from rayal.storage.folder import FileRecord, Folder, recorded


class Recorded(Oracle):
    """Votes of annotators from a file, a few more each time that a unit is asked for.

    Each vote costs 1. A unit without any in the file is refused, and costs nothing; one of which as
    many as are asked for at a time are not left is not asked for again.
    """

    unit: ClassVar[CostUnit] = "votes"

    file: Location = Field(examples=["votes.csv"])
    """Parquet or CSV with a row for each vote, or for each unit."""
    columns: Columns = Columns()
    """What its columns are called."""
    votes: PositiveInt = 1
    """Votes that a unit gets each time it is asked for; fewer where the file has no more of it."""
    consensus: Literal["majority", "unanimous"] = "majority"
    """Which label the votes make: the one that more of them name than any other, or the one that
    all name."""
    disputed: Literal["ask", "first", "refuse"] = "ask"
    """What becomes of a unit whose votes make none: `ask` buys one vote more, and again, while the
    file has some, then does as `first`, which takes, of the answers that most have named, the one
    that was named first; `refuse` takes it as one that cannot be labeled."""

    def check(self, card: Card) -> None:
        if card.masks is not None:
            raise UsageError(
                f"oracle: recorded has votes for classes, and labels of {card.name} are masks; use"
                " simulated"
            )
        _read(self.file, self.columns, card.classes)

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        return self.answer_again(store, ids, NO_VOTES, out)

    def answer_again(
        self,
        store: Store,
        ids: Sequence[str],
        earlier: Mapping[str, Sequence[Vote]],
        out: Folder,
    ) -> dict[str, Label]:
        new = {unit: self._next(store, unit, earlier.get(unit, ())) for unit in ids}
        given = [vote for votes in new.values() for vote in votes]
        if given:
            out.write(VOTES, dump_votes(given))
        return {unit: self._label(earlier.get(unit, ()), votes) for unit, votes in new.items()}

    def costs(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """Votes of each unit, known beforehand as only a simulation can."""
        return np.array([len(self._next(store, unit, ())) for unit in ids], np.float64)

    def costs_again(self, store: Store, votes: Mapping[str, Sequence[Vote]]) -> Mapping[str, float]:
        recorded = self._recorded(store)
        return {
            unit: float(len(self._next(store, unit, said)))
            for unit, said in votes.items()
            if len(recorded.get(unit, ())) >= len(said) + self.votes
        }

    def evidence(self, out: Folder) -> dict[str, FileRecord]:
        if not out.exists(VOTES):
            return {}
        return {VOTES: recorded(VOTES, out.read(VOTES))}

    def _next(self, store: Store, unit: str, earlier: Sequence[Vote]) -> Sequence[Vote]:
        """The votes that a unit gets after these."""
        all_ = self._recorded(store).get(unit, ())
        end = min(len(all_), len(earlier) + self.votes)
        rule = Agreement(consensus=self.consensus)
        while self.disputed == "ask" and end < len(all_) and rule.is_disputed(all_[:end]):
            end += 1
        return all_[len(earlier) : end]

    def _label(self, earlier: Sequence[Vote], votes: Sequence[Vote]) -> Label:
        settled: Literal["first", "refuse"] = "first" if self.disputed == "ask" else self.disputed
        made = Agreement(consensus=self.consensus, disputed=settled).label(votes, earlier)
        return Label(None if made is None else made.value, float(len(votes)))

    def _recorded(self, store: Store) -> Mapping[str, Sequence[Vote]]:
        found = _read(self.file, self.columns, store.card.classes)
        ids = store.pool.ids()
        if ids and not any(unit in found for unit in ids):
            others = f" it has votes of {quoted(next(iter(found)))}" if found else " it has none"
            raise DataError(
                f"{self.file} has no vote of any unit of {store.card.name}, such as"
                f" {quoted(ids[0])};{others}: use the ids of the dataset"
            )
        return found


@lru_cache(maxsize=4)
def _read(file: str, columns: Columns, classes: tuple[str, ...]) -> Mapping[str, Sequence[Vote]]:
    return recorded_votes(file, columns, classes)
