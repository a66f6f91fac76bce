"""What a cycle of a run has bought beside what other strategies would have: overlap, classes and
scores.

C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.cycle.candidates import candidates, known_images
from rayal.cycle.replay import Replayed
from rayal.cycle.shard_file import shards
from rayal.cycle.state import State
from rayal.data.masks import LabelValue
from rayal.report.balance import Balance, balance
from rayal.runs.ledger import Ledger
from rayal.runs.passes import Pass
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder, Json
from rayal.storage.ids import Ids, Places
from rayal.strategies.base import Strategy


class Spread(NamedTuple):
    """Of some scores."""

    lowest: float
    median: float
    highest: float

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> "Spread | None":
        """None where there is none."""
        if not len(scores):
            return None
        return cls(float(scores.min()), float(np.median(scores)), float(scores.max()))


@dataclass(frozen=True)
class Standing:
    """Where picks stand among the scores of a strategy, higher = label sooner."""

    candidates: Spread
    own: Spread | None
    """Of what the run has bought; None where none of it has a score."""
    its: Spread | None
    """Of what the strategy itself would have bought."""
    lower: float | None
    """Share of the candidates, 0 to 1, that score lower than the median of what the run bought."""


@dataclass(frozen=True)
class Bought:
    """What a strategy buys."""

    name: str
    strategy: Strategy
    ids: tuple[str, ...]
    """The best first."""
    cost: float
    classes: tuple[int, ...] | None
    """C, how many of each are known to be among them; None of masks."""
    balance: Balance | None
    """Of these classes beside those of all candidates; None where nobody knows the latter."""

    @property
    def unknown(self) -> int:
        """Of how many nobody knows the class."""
        return len(self.ids) - sum(self.classes or ())

    def to_dict(self, classes: Sequence[str]) -> Json:
        """As JSON; `classes` are their names."""
        counts = None if self.classes is None else dict(zip(classes, self.classes, strict=True))
        return {
            "name": self.name,
            "strategy": self.strategy.model_dump(mode="json"),
            "ids": [*self.ids],
            "cost": self.cost,
            "classes": counts,
            "unknown": None if counts is None else self.unknown,
            "divergence": None if self.balance is None else self.balance.divergence,
        }


@dataclass(frozen=True)
class Beside:
    """What another strategy would have bought beside what the run did."""

    bought: Bought
    both: tuple[str, ...]
    """What both buy, in the order of the run."""
    only_own: tuple[str, ...]
    """What only the run has bought."""
    only_it: tuple[str, ...]
    asked: bool
    """Whether models were asked again for it."""
    standing: Standing | None
    """By its own scores; None where it gives none, or chooses regions."""

    @property
    def name(self) -> str:
        """Of the strategy."""
        return self.bought.name

    @property
    def share(self) -> float:
        """Units that both buy over those of the smaller purchase, 0 to 1."""
        smaller = min(len(self.bought.ids), len(self.both) + len(self.only_own))
        return len(self.both) / max(1, smaller)

    def to_dict(self, classes: Sequence[str]) -> Json:
        """As JSON; `classes` are their names."""
        s = self.standing
        spreads = {} if s is None else {"candidates": s.candidates, "own": s.own, "its": s.its}
        scores = {key: None if each is None else each._asdict() for key, each in spreads.items()}
        return {
            **self.bought.to_dict(classes),
            "asked": self.asked,
            "both": [*self.both],
            "only_own": [*self.only_own],
            "only_it": [*self.only_it],
            "share": self.share,
            "scores": None if s is None else {**scores, "lower": s.lower},
        }


@dataclass(frozen=True)
class SideBySide:
    """A cycle's purchase, and others."""

    state: State
    own: Bought
    others: tuple[Beside, ...]
    candidates: int
    """Images that could be bought."""
    labels: Mapping[str, LabelValue]
    """Of what is bought by any of them, as far as they are known: of simulations the true ones."""

    @property
    def names(self) -> Sequence[str]:
        """Of the classes."""
        return self.state.store.card.classes

    @classmethod
    def of(cls, state: State, own: Chosen, others: Mapping[str, Replayed]) -> "SideBySide":
        """What these have chosen from one state."""
        return _Compare(state, own, others).told()

    def to_dict(self) -> Json:
        """All of it as JSON."""
        x, pool = self.state.x, self.state.pool
        return {
            "run": self.state.run.url,
            "cycle": pool.cycle,
            "labels": len(pool.labels),
            "budget": self.state.budget,
            "unit": x.budget.unit,
            "candidates": self.candidates,
            "own": self.own.to_dict(self.names),
            "others": [each.to_dict(self.names) for each in self.others],
        }


class _Compare:
    def __init__(self, state: State, own: Chosen, others: Mapping[str, Replayed]) -> None:
        self.state, self.own, self.others = state, own, others

    def told(self) -> SideBySide:
        x = self.state.x
        return SideBySide(
            state=self.state,
            own=self._bought(next(iter(x.scored())), x.strategy, self.own),
            others=tuple(self._beside(name, each) for name, each in self.others.items()),
            candidates=len(self._candidates),
            labels=self._labels,
        )

    def _beside(self, name: str, other: Replayed) -> Beside:
        own, its = dict.fromkeys(self.own.ids), dict.fromkeys(other.chosen.ids)
        return Beside(
            bought=self._bought(name, other.strategy, other.chosen),
            both=tuple(unit for unit in own if unit in its),
            only_own=tuple(unit for unit in own if unit not in its),
            only_it=tuple(unit for unit in its if unit not in own),
            asked=other.asked,
            standing=self._standing(other),
        )

    def _bought(self, name: str, strategy: Strategy, chosen: Chosen) -> Bought:
        counts = self._counts(chosen.ids)
        pool = self._pool
        beside = None if counts is None or pool is None else balance(counts, pool)
        classes = None if counts is None else tuple(counts.tolist())
        return Bought(name, strategy, tuple(chosen.ids), chosen.cost, classes, beside)

    def _standing(self, other: Replayed) -> Standing | None:
        name = other.strategy.part_name()
        ids, scores = scored(other.folder, other.scored, name, self._known)
        candidates = Spread.of(scores)
        if candidates is None or other.strategy.divides_images:
            return None
        places = Places(ids)
        own, its = (
            scores[at[at >= 0]]
            for at in (places.of(Ids(self.own.ids)), places.of(Ids(other.chosen.ids)))
        )
        spread = Spread.of(own)
        lower = None if spread is None else float((scores < spread.median).mean())
        return Standing(candidates, spread, Spread.of(its), lower)

    def _counts(self, units: Iterable[str]) -> NDArray[np.int64] | None:
        """C; None of masks, and where some label is no class."""
        if self.state.x.task.dense:
            return None
        known = [self._labels[unit] for unit in units if unit in self._labels]
        classes = [label for label in known if isinstance(label, int)]
        return np.bincount(np.array(classes, np.int64), minlength=self._width)

    @property
    def _width(self) -> int:
        return len(self.state.store.card.classes)

    @cached_property
    def _pool(self) -> NDArray[np.int64] | None:
        """The classes of all candidates; None where nobody may know them."""
        x, store = self.state.x, self.state.store
        if not x.oracle.simulated or x.task.dense or not self._candidates:
            return None
        labels = store.labels("pool", self._candidates).values()
        return np.bincount(np.array([*labels], np.int64), minlength=self._width)

    @cached_property
    def _known(self) -> frozenset[str]:
        return known_images(self.state.pool)

    @cached_property
    def _candidates(self) -> list[str]:
        state = self.state
        return candidates(state.x, state.store, self._known, state.pool.cycle)

    @cached_property
    def _labels(self) -> Mapping[str, LabelValue]:
        state = self.state
        if not state.x.oracle.simulated:  # whatever the run has bought since
            return Ledger(state.run, {}).state().labels
        chosen = (self.own, *(other.chosen for other in self.others.values()))
        units = dict.fromkeys(unit for each in chosen for unit in each.ids)
        images = [unit for unit in units if not state.x.task.dense]
        return state.store.labels("pool", images) if images else {}


def scored(
    folder: Folder, result: Pass, column: str, known: Iterable[str]
) -> tuple[Ids, NDArray[np.float64]]:
    """The candidates of a pass, those not `known`, and their scores; none without such a column."""
    bought, ids, found = Places(Ids(known)), list[str](), [np.empty(0)]
    for rows in shards(folder, result, ["id", f"score.{column}"]):
        if f"score.{column}" not in rows.schema.names:
            return Ids(), np.empty(0)
        here = Ids(rows["id"])
        open_ = ~bought.has(here)
        ids += here[open_]
        found.append(rows[f"score.{column}"].to_numpy()[open_])
    return Ids(ids), np.concatenate(found)
