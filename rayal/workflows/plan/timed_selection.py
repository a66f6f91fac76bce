"""How long selections take, and how that grows with the number of candidates."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from rayal.cycle.first_choice import CYCLE
from rayal.cycle.offer import Offer
from rayal.cycle.score import ScoreJob, summary
from rayal.cycle.scorer import Scorer
from rayal.cycle.select import choose
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.runs.results import Scored
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.workflows.plan.timed_pass import score, seconds, some_units

LEAST_SELECTED = 16  # candidates of a timed selection


def grown(parts: Sequence[float], candidates: int) -> float:
    """What a selection from so many takes, of its parts by powers of their number."""
    return sum(each * float(candidates) ** power for power, each in enumerate(parts))


def growth(sizes: Sequence[int], seconds: Sequence[float], power: int) -> tuple[float, ...]:
    """What is taken in any case, for each unit, ... by powers of their number: none is below 0, and
    the sum of their squared errors is the least."""
    from scipy.optimize import nnls  # takes a moment to import

    parts = np.vander(np.divide(sizes, max(sizes)), power + 1, increasing=True)
    found, _ = nnls(parts, np.array(seconds))
    return tuple(float(each) / max(sizes) ** n for n, each in enumerate(found))


def of_cycle(
    x: Experiment,
    store: Store,
    weights: FileLocation,
    companions: Mapping[str, FileLocation],
    device: str,
) -> tuple[float, ...]:
    """The selection of a cycle, after which all labels of the run were bought."""
    opened = partial(
        ScoreJob.of,
        *(x, store, 0, weights),
        members=(weights,) * (x.ensemble - 1),
        companions=companions,
    )
    amounts, trained = x.budget.amounts, {**companions, "weights": weights}
    return _select_seconds(x, store, 0, amounts.per_cycle, amounts.total, trained, opened, device)


def of_first(y: Experiment, store: Store, weights: FileLocation, device: str) -> tuple[float, ...]:
    """The selection of the first units, of the experiment that `as_strategy` makes."""
    opened = partial(ScoreJob.of, y, store, CYCLE, weights)
    picks = y.budget.amounts.initial
    return _select_seconds(y, store, CYCLE, picks, 0, {"weights": weights}, opened, device)


def _select_seconds(
    x: Experiment,
    store: Store,
    cycle: int,
    picks: int,
    bought: int,
    trained: Mapping[str, FileLocation],
    opened: Callable[[str], ScoreJob],
    device: str,
) -> tuple[float, ...]:
    """A selection by powers of the number of candidates, from selections from a shard and from
    parts of it. A quarter of the smallest is chosen at most, and as many were bought before.
    `opened`: the pass whose files lie in a folder."""
    whole = some_units(x, store)
    again = any(strategy.relabels for strategy in x.scored().values())
    if whole.rows < LEAST_SELECTED or x.budget.unit != "samples" or again:
        return 0.0, 0.0
    ids, most = whole.ids or [], whole.rows // 16
    power = max(each.select_power for each in x.scored().values())
    sizes = [whole.rows >> halved for halved in ((2, 0) if power == 1 else (2, 1, 0))]
    folder, taken = Folder(trained["weights"].folder), list[float]()
    for size in sizes:
        task, out = whole._replace(ids=ids[:size]), folder / f"selected-{size}"
        job = opened(out.url)
        scored = score(Scorer(job, device), task)
        result = Scored(**dict(summary(job, [task], [scored])), bad={})
        offer = Offer(x, store, ids[: min(bought, most)])
        select = partial(
            choose, x, cycle, min(picks, most), out, result, offer, trained, out / "picks"
        )
        taken.append(seconds(select))
    return growth(sizes, taken, power)
