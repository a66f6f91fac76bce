"""What strategies choose from a pool of their own: they do not only rank, or units differ in cost.

A pool is in this process, or held by machines of the engine where it is large.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from rayal.cycle import checked, shard_file
from rayal.cycle.checked import seen_by
from rayal.cycle.lots import HoldsPools, Whole, held
from rayal.cycle.offer import Offer
from rayal.cycle.picks import Picks
from rayal.runs.passes import Pass
from rayal.selection.candidates import Candidates, ranking
from rayal.selection.progress import UNDER_WAY, KeptProgress
from rayal.storage.folder import Folder, Json
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy


@dataclass(frozen=True)
class PoolSelection:
    """The pools of one select stage. What strategies picked on machines stays in `out`, for whoever
    is killed before the stage is recorded, until `forget_under_way`."""

    scored: Folder
    """Of the scoring pass."""
    result: Pass
    offer: Offer
    trained: Mapping[str, FileLocation]
    """The files of the model that it asked."""
    out: Folder
    engine: HoldsPools | None
    seed: int
    cycle: int
    budget: float
    pools: dict[str, Candidates] = field(default_factory=dict)
    """By strategy, those that were opened so far."""

    def picks(
        self, strategies: Mapping[str, Strategy], rngs: Mapping[str, np.random.Generator]
    ) -> dict[str, Picks]:
        """What each of them chooses, by name, with its own ties and draws."""
        large = self._too_large(strategies)
        self._load({name: each for name, each in strategies.items() if name not in large})
        return {
            name: self._picked_from_large(name, strategy, large[name], rngs[name])
            if name in large
            else self._picked(name, strategy, rngs[name])
            for name, strategy in strategies.items()
        }

    def _too_large(self, strategies: Mapping[str, Strategy]) -> dict[str, Whole]:
        """By name those whose pools are for machines of the engine."""
        engine = self.engine
        if engine is None or not engine.holds(sys.maxsize):
            return {}
        wholes = {
            name: Whole.of(self.scored, self.result, strategy, name, self.offer.closed(strategy))
            for name, strategy in strategies.items()
            if strategy.asks_holders()
        }
        return {name: each for name, each in wholes.items() if engine.holds(each.bytes)}

    def _load(self, strategies: Mapping[str, Strategy]) -> None:
        """Their pools into this process, each file read once for all that may share it."""
        for together in _alike(strategies):
            kept = {kept for each in together.values() for kept in each.kept_names()}
            closed = self.offer.closed(next(iter(together.values())))
            place = scratch_folder(self.out)
            found = shard_file.load(self.scored, self.result, kept, closed, together, place)
            self.pools.update(found)

    def _picked_from_large(
        self, name: str, strategy: Strategy, whole: Whole, rng: np.random.Generator
    ) -> Picks:
        """On machines where they have room for it; goes on where a killed process was."""
        closed = self.offer.closed(strategy)
        of = decided(strategy, self.seed, self.cycle, self.budget, self.result, closed)
        under_way = KeptProgress(self.out, f"{name}{UNDER_WAY}", of)
        if left := under_way.state.get("chosen"):
            return Picks(**left)
        with ExitStack() as until_picked:
            if self.engine is not None and self.engine.has_room(whole):
                opened = held(self.engine, whole, closed, under_way)
                self.pools[name] = until_picked.enter_context(opened)
            else:
                self._load({name: strategy})
            picks = self._picked(name, strategy, rng)
        if picks.ids:
            under_way.keep(chosen=picks._asdict())  # the others may take hours
        return picks

    def _picked(self, name: str, strategy: Strategy, rng: np.random.Generator) -> Picks:
        """From its pool, which is there."""
        pool = self.offer.offered(strategy, seen_by(strategy, self.pools[name]))
        select = strategy.selector(self.trained)
        if strategy.ranks(self.offer.one_price) and pool.scores is not None:
            order = ranking(pool.ids, pool.scores, rng)
            count, cost = self.offer.affordable(pool.ids[order], self.budget)
            units = list(pool.ids[order[:count]])
        else:
            units, cost = checked.chosen(strategy, select, name, pool, self.budget, rng)
        return Picks(units, replace(pool, scores=strategy.weighed(pool)).scores_of(units), cost)


def _alike(strategies: Mapping[str, Strategy]) -> Iterator[dict[str, Strategy]]:
    """In groups that each read the rows of one embedding at most: a pool has one of each signal;
    and that have the same candidates."""
    kinds = {name: (type(each.embeds()), each.relabels) for name, each in strategies.items()}
    for kind in dict.fromkeys(kinds.values()):
        yield {name: each for name, each in strategies.items() if kinds[name] == kind}


def decided(
    strategy: Strategy,
    seed: int,
    cycle: int,
    budget: float,
    result: Pass,
    labeled: Collection[str],
) -> Json:
    """All that decides the picks of a strategy from a pass, but for prices."""
    files = "".join(file.sha256 for file in result.shards)
    known = "\n".join(sorted(labeled))
    return {
        "strategy": strategy.model_dump(mode="json"),
        "seed": seed,
        "cycle": cycle,
        "budget": budget,
        "pass": sha256(files.encode()).hexdigest(),
        "labeled": sha256(known.encode()).hexdigest(),
    }


def scratch_folder(out: Folder | None) -> Path:
    """Where large files may lie: `out`, where there is most likely space, or where the system has
    such files, if that is not a local folder."""
    if out is None or out.local is None:
        return Path(gettempdir())
    out.make()
    return out.local


def forget_under_way(out: Folder) -> None:
    """Removes the picks that a select stage kept, which is recorded now."""
    out.remove_all([name for name in out.names() if name.endswith(UNDER_WAY)])
