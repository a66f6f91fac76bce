"""The select stage: what the strategy chooses, and what its observers would have chosen."""

import csv
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rayal import scores
from rayal.errors import DataError
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
    (column, strategy), *observers = x.scored().items()
    pool = scores.load(scored, result, column, strategy.keeps)
    picks = _picks(strategy, column, pool, budget, x.seed, cycle)
    ids = [str(unit) for unit in pool.ids[picks]]
    out.write("chosen.csv", _table(ids, pool, picks))
    agreement = {
        name: _overlap(ids, _would_choose(observer, name, budget, x.seed, cycle, scored, result))
        for name, observer in observers
    }
    return {"ids": ids, "cost": float(pool.costs[picks].sum()), "agreement": agreement}


def _would_choose(
    strategy: Strategy,
    name: str,
    budget: float,
    seed: int,
    cycle: int,
    scored: Folder,
    result: Json,
) -> list[str]:
    pool = scores.load(scored, result, name, strategy.keeps)
    return list(pool.ids[_picks(strategy, name, pool, budget, seed, cycle)])


def _picks(
    strategy: Strategy, name: str, pool: Scored, budget: float, seed: int, cycle: int
) -> NDArray[np.intp]:
    """What a strategy selects, checked: a user's own strategy may be wrong, and must not be
    able to spend the budget on nonsense."""
    picks = np.asarray(strategy.select(pool, budget, numpy_generator(seed, cycle, "select")))
    if picks.ndim != 1 or not np.issubdtype(picks.dtype, np.integer):
        raise DataError(
            f"strategy {name!r} selected {picks.dtype} of shape {picks.shape}: "
            "select returns one position per unit"
        )
    if len(picks) and (picks.min() < 0 or picks.max() >= len(pool.ids)):
        raise DataError(f"strategy {name!r} selected a position outside 0..{len(pool.ids) - 1}")
    if len(np.unique(picks)) < len(picks):
        raise DataError(f"strategy {name!r} selected a unit twice")
    if pool.costs[picks].sum() > budget:
        raise DataError(f"strategy {name!r} spent {pool.costs[picks].sum():g} of {budget:g}")
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
