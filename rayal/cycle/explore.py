"""The random share of a purchase: drawn from all candidates before the strategy chooses, so that
the probability of each is known exactly."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rayal.cycle.ranking import Highest
from rayal.cycle.shard_file import shards
from rayal.experiment.experiment import Experiment
from rayal.experiment.explore import share
from rayal.randomness import derive, numpy_generator
from rayal.runs.passes import Pass
from rayal.runs.results import Chosen
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places

MARKS = ["explored", "propensity"]
"""Columns of `chosen.csv`: 1 for what was drawn at random, else 0; and the probability with which
it was, nothing for what the strategy chose."""


class Draw(NamedTuple):
    """K units, drawn at random without replacement."""

    ids: Sequence[str]
    scores: Sequence[float | None]
    """What the strategy says of them; None where it gives no scores."""
    drawn_from: int
    """How many candidates there were."""


NOTHING = Draw((), (), 0)


def draw(
    x: Experiment, cycle: int, budget: float, folder: Folder, result: Pass, closed: Collection[str]
) -> Draw:
    """The random share of what this budget buys of the units in a finished pass, but for those that
    are `closed`: the first ones in an order of the seed, the cycle and their ids alone."""
    count = share(x.explore, budget)
    if not count:
        return NOTHING
    known, number = Places(Ids(closed)), 0
    column = f"score.{next(iter(x.scored()))}"
    first = Highest(count, derive(x.seed, cycle, "explore"))
    for rows in shards(folder, result, ["id", column]):
        rows = rows.filter(pa.array(~known.has(Ids(rows["id"]))))
        number += rows.num_rows
        none = pa.nulls(rows.num_rows, pa.float64())
        own = rows[column] if column in rows.schema.names else none
        # all equal, so that the order is that of ties
        first.add(pa.table({"id": rows["id"], "score": np.zeros(rows.num_rows), "own": own}))
    drawn = first.rows()
    if drawn is None:
        return NOTHING
    return Draw(drawn["id"].to_pylist(), drawn["own"].to_pylist(), number)


def with_draw(x: Experiment, cycle: int, chosen: Chosen, drawn: Draw, out: Folder) -> Chosen:
    """What the strategy chose, and among it, at random places, what was drawn: people who label do
    not see which is which. Writes `chosen.csv` with both."""
    if not drawn.ids:
        return chosen
    total = len(chosen.ids) + len(drawn.ids)
    rng = numpy_generator(x.seed, cycle, "explore", "places")
    places = {*rng.permutation(total)[: len(drawn.ids)].tolist()}
    theirs = csv_file.parse(out.read("chosen.csv", chosen.table)).to_pydict()
    beside = [name for name in theirs if name not in ("rank", "id", "score")]
    propensity = len(drawn.ids) / drawn.drawn_from
    scores = [float(score) if score else None for score in theirs["score"]]
    picked = zip(chosen.ids, scores, *(theirs[name] for name in beside), strict=True)
    of_strategy = ((*row, 0, None) for row in picked)
    nothing = [None] * len(beside)
    of_draw = (
        (unit, score, *nothing, 1, propensity)
        for unit, score in zip(drawn.ids, drawn.scores, strict=True)
    )
    rows = [next(of_draw if place in places else of_strategy) for place in range(total)]
    header = ["rank", "id", "score", *beside, *MARKS]
    table = csv_file.dump(header, [(rank, *row) for rank, row in enumerate(rows, start=1)])
    return chosen.model_copy(
        update={
            "ids": tuple(unit for unit, *_ in rows),
            "table": out.write("chosen.csv", table.encode()),
            "cost": chosen.cost + len(drawn.ids),
            "sold_out": False,
            "explored": tuple(drawn.ids),
            "drawn_from": drawn.drawn_from,
        }
    )
