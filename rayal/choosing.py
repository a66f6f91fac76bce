"""The select stage: what the strategy chooses, and what its observers would have chosen."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal import scores, spreadsheet
from rayal.errors import DataError, RayalError
from rayal.experiment import Experiment
from rayal.ids import Ids, Places
from rayal.market import Market
from rayal.randomness import numpy_generator
from rayal.ranking import highest
from rayal.region_strategy import RegionStrategy
from rayal.selection import Scored, tie_secret
from rayal.storage import FileLocation, Folder, Json
from rayal.strategy import Strategy


def choose(
    x: Experiment,
    cycle: int,
    budget: float,
    scored: Folder,
    result: Json,
    market: Market,
    trained: Mapping[str, FileLocation],
    out: Folder,
) -> Json:
    """The ids to label next, best first, and how far any two strategies agree.

    `scored` and `result` are the folder and the result of the scoring pass, which may have passed
    over labeled units too; `market` says what those are, and what the others cost; `trained` are
    the files of the model that it asked. Also writes `chosen.csv` (rank, id, score) for people.
    """
    labeled = market.bought
    strategies = x.scored()
    # its own ties and draws: one order for all would make strategies agree by the dice
    rngs = {
        name: numpy_generator(x.seed, cycle, "select", strategy.part_name())
        for name, strategy in strategies.items()
    }
    ranking = {
        name: rngs[name]
        for name, strategy in strategies.items()
        if strategy.ranks() and market.one_price
    }
    picks = _highest(scored, result, ranking, budget, labeled)
    others = {name: each for name, each in strategies.items() if name not in ranking}
    if others:
        kept = {signal for each in others.values() for signal in each.kept()}
        place = scratch_folder(out)
        pools = scores.load(scored, result, kept, labeled, trained, others, place)
        costs = market.costs([*pools[next(iter(others))].ids])
        for name, strategy in others.items():
            offered = replace(
                pools[name], costs=costs, regions=market.regions, overshoot=market.overshoot
            )
            pool = seen_by(strategy, offered)
            if isinstance(strategy, RegionStrategy):
                units, cost = strategy.select_regions(pool, budget, rngs[name])
                picks[name] = Picks(units, None, cost)
            else:
                picks[name] = _picks(pool, positions(strategy, name, pool, budget, rngs[name]))
    chosen = picks[next(iter(strategies))]
    values = repeat(None) if chosen.scores is None else chosen.scores
    ranks = zip(count(1), chosen.ids, values, strict=False)
    out.write("chosen.csv", spreadsheet.table(["rank", "id", "score"], ranks))
    return {
        "ids": chosen.ids,
        "cost": chosen.cost,
        "agreement": agreement({name: set(picks[name].ids) for name in strategies}),
    }


class Picks(NamedTuple):
    """What one strategy chose, best first."""

    ids: list[str]
    scores: list[float] | None
    cost: float


def _highest(
    folder: Folder,
    result: Json,
    rngs: Mapping[str, np.random.Generator],
    budget: float,
    labeled: Collection[str],
) -> dict[str, Picks]:
    """The picks of the strategies that rank, where every unit costs 1."""
    known = Places(Ids(labeled))
    secrets = {name: tie_secret(rng) for name, rng in rngs.items()}
    tops = highest(folder, result, secrets, int(budget), lambda rows: ~known.has(Ids(rows["id"])))
    return {
        name: Picks(top["id"].to_pylist(), top["score"].to_pylist(), float(top.num_rows))
        for name, top in tops.items()
    }


def _picks(pool: Scored, chosen: NDArray[np.intp]) -> Picks:
    values = None if pool.scores is None else pool.scores[chosen].tolist()
    return Picks(list(pool.ids[chosen]), values, float(pool.costs[chosen].sum()))


def scratch_folder(out: Folder | None) -> Path:
    """Where large files may lie: `out`, where there is most likely space, or where the system has
    such files, if that is not a local folder."""
    if out is None or out.local is None:
        return Path(gettempdir())
    out.make()
    return out.local


def agreement(picks: Mapping[str, set[str]]) -> dict[str, dict[str, float]]:
    """For every two strategies the units that both chose, over those of the smaller choice: 0 to 1.

    Under the name that comes first in `picks`.
    """
    names = list(picks)
    return {
        name: {
            other: len(picks[name] & picks[other])
            / max(1, min(len(picks[name]), len(picks[other])))
            for other in names[place + 1 :]
        }
        for place, name in enumerate(names[:-1])
    }


def seen_by(strategy: Strategy, pool: Scored) -> Scored:
    """What it asked for and no more: an observer must not change what another strategy sees."""
    asked, scans = strategy.kept(), strategy.scans_labeled
    return replace(
        pool,
        kept={signal: rows for signal, rows in pool.kept.items() if signal in asked},
        labeled_ids=pool.labeled_ids if scans else pool.labeled_ids[:0],
        labeled={s: rows for s, rows in pool.labeled.items() if scans and s in asked},
    )


def positions(
    strategy: Strategy, name: str, pool: Scored, budget: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """What a strategy selects, checked: a user's own strategy may be wrong, and must not be
    able to spend the budget on nonsense."""
    try:
        picks = np.asarray(strategy.select(pool, budget, rng))
    except RayalError:
        raise
    except Exception as error:
        raise DataError(
            f"strategy {name!r} raised {type(error).__name__} in select: {error}"
        ) from error
    if picks.ndim != 1 or not np.issubdtype(picks.dtype, np.integer):
        raise DataError(
            f"strategy {name!r} selected {picks.dtype} of shape {picks.shape}: "
            "select returns one position per unit"
        )
    if len(picks) and (picks.min() < 0 or picks.max() >= len(pool.ids)):
        raise DataError(f"strategy {name!r} selected a position outside 0..{len(pool.ids) - 1}")
    if len(np.unique(picks)) < len(picks):
        raise DataError(f"strategy {name!r} selected a unit twice")
    needed = picks[:-1] if pool.overshoot else picks
    spent = np.cumsum(pool.costs[needed])[-1] if len(needed) else 0  # summed as `spend` does
    if spent > budget:
        raise DataError(f"strategy {name!r} spent {spent:g} of {budget:g}")
    least = min(len(pool.ids), int(budget // pool.costs.max(initial=1.0)))
    if len(picks) < least:  # nothing selected would pass for the end of the pool
        raise DataError(
            f"strategy {name!r} selected {len(picks)} units, the budget buys {least} or more"
        )
    return picks
