"""The select stage: what the strategy chooses, and what its observers would have chosen."""

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rayal import scores
from rayal.errors import DataError, RayalError
from rayal.experiment import Experiment
from rayal.randomness import numpy_generator
from rayal.selection import Scored
from rayal.storage import FileLocation, Folder, Json
from rayal.strategy import Strategy


def choose(
    x: Experiment,
    cycle: int,
    budget: float,
    scored: Folder,
    result: Json,
    labeled: Collection[str],
    trained: Mapping[str, FileLocation],
    out: Folder,
) -> Json:
    """The ids to label next, best first, and how far any two strategies agree.

    `scored` and `result` are the folder and the result of the scoring pass, which may have passed
    over `labeled` units too; `trained` are the files of the model that it asked. Also writes
    `chosen.csv` (rank, id, score) for people.
    """
    strategies = x.scored()
    kept = {signal for each in strategies.values() for signal in each.kept()}
    pools = scores.load(scored, result, kept, labeled, trained)

    pools = {name: _seen_by(strategy, pools[name]) for name, strategy in strategies.items()}
    picks = {
        name: _picks(strategy, name, pools[name], budget, x.seed, cycle)
        for name, strategy in strategies.items()
    }
    selecting = next(iter(strategies))
    pool, chosen = pools[selecting], picks[selecting]
    ids = [str(unit) for unit in pool.ids[chosen]]
    out.write("chosen.csv", _table(ids, pool, chosen))
    return {
        "ids": ids,
        "cost": float(pool.costs[chosen].sum()),
        "agreement": agreement({name: set(pools[name].ids[picks[name]]) for name in strategies}),
    }


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


def _seen_by(strategy: Strategy, pool: Scored) -> Scored:
    """What it asked for and no more: an observer must not change what another strategy sees."""
    asked, scans = strategy.kept(), strategy.scans_labeled
    return replace(
        pool,
        kept={signal: rows for signal, rows in pool.kept.items() if signal in asked},
        labeled_ids=pool.labeled_ids if scans else pool.labeled_ids[:0],
        labeled={s: rows for s, rows in pool.labeled.items() if scans and s in asked},
    )


def _picks(
    strategy: Strategy, name: str, pool: Scored, budget: float, seed: int, cycle: int
) -> NDArray[np.intp]:
    """What a strategy selects, checked: a user's own strategy may be wrong, and must not be
    able to spend the budget on nonsense."""
    try:
        # its own ties and draws: one order for all would make strategies agree by the dice
        rng = numpy_generator(seed, cycle, "select", strategy.part_name())
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
    spent = np.cumsum(pool.costs[picks])[-1] if len(picks) else 0  # summed as `spend` does
    if spent > budget:
        raise DataError(f"strategy {name!r} spent {spent:g} of {budget:g}")
    least = min(len(pool.ids), int(budget // pool.costs.max(initial=1.0)))
    if len(picks) < least:  # nothing selected would pass for the end of the pool
        raise DataError(
            f"strategy {name!r} selected {len(picks)} units, the budget buys {least} or more"
        )
    return picks


def _table(ids: list[str], pool: Scored, picks: NDArray[np.intp]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "id", "score"])
    values = (
        [""] * len(ids) if pool.scores is None else [repr(float(s)) for s in pool.scores[picks]]
    )
    writer.writerows(
        (rank, unit, value) for rank, (unit, value) in enumerate(zip(ids, values, strict=True), 1)
    )
    return text.getvalue().encode()
