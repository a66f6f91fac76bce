"""The select stage: what the strategy chooses, and what its observers would have chosen."""

import csv
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rayal import scores
from rayal.errors import DataError, RayalError
from rayal.experiment import Experiment
from rayal.randomness import numpy_generator
from rayal.selection import Scored
from rayal.storage import Folder, Json
from rayal.strategy import Strategy


def choose(
    x: Experiment, cycle: int, budget: float, scored: Folder, result: Json, out: Folder
) -> Json:
    """The ids to label next, best first, and each observer's share of the same ids.

    `scored` and `result` are the folder and the result of the scoring pass. Also writes
    `chosen.csv` (rank, id, score) for people.
    """
    (selecting, *observers), strategies = x.scored(), x.scored()
    pools = scores.load(scored, result, {s for each in strategies.values() for s in each.keeps})

    def picks(name: str) -> NDArray[np.intp]:
        return _picks(strategies[name], name, pools[name], budget, x.seed, cycle)

    pool, chosen = pools[selecting], picks(selecting)
    ids = [str(unit) for unit in pool.ids[chosen]]
    out.write("chosen.csv", _table(ids, pool, chosen))
    agreement = {name: _overlap(ids, pools[name].ids[picks(name)]) for name in observers}
    return {"ids": ids, "cost": float(pool.costs[chosen].sum()), "agreement": agreement}


def _picks(
    strategy: Strategy, name: str, pool: Scored, budget: float, seed: int, cycle: int
) -> NDArray[np.intp]:
    """What a strategy selects, checked: a user's own strategy may be wrong, and must not be
    able to spend the budget on nonsense."""
    try:
        picks = np.asarray(strategy.select(pool, budget, numpy_generator(seed, cycle, "select")))
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


def _overlap(chosen: list[str], other: Iterable[str]) -> float:
    return len(set(chosen) & set(other)) / max(len(chosen), 1)


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
