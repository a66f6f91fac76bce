"""What units drawn at random (`explore`) say of the model that was trained before them.

In each cycle m of the M units without a label are drawn, each with probability m/M, and judged by
the model before it learns from them: a simple random sample without replacement. All weights 1/p of
Horvitz and Thompson (1952) are then equal, so that their estimate of the share of the M that the
model predicts right, and Hajek's, are the share of the m. The interval is that of Clopper and
Pearson (1934), which holds at least as often as it says, also for few units; it takes the pool for
infinite, which makes it a little wider than it need be. Units that nobody could label are left out:
the estimate is for those that can be labeled.
"""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

from scipy import special

from rayal.data.tasks.base import EXPLORED, is_tested, metric_of
from rayal.report import metric
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated

if TYPE_CHECKING:
    from rayal.report.runs import Run

CONFIDENCE = 0.95
NONE = "–"
NOTE = (
    "of the model trained on so many labels, for all units that had none then, as people label"
    " them; from, to: 95 % interval (Clopper and Pearson), of several seeds that of their mean"
)


class Estimate(NamedTuple):
    """Of one model."""

    cycle: int
    """That it was trained in."""
    labels: int
    """That it was trained on."""
    value: float
    """The task's metric on what was drawn."""
    low: float | None
    high: float | None
    """Its 95 % interval; None where the metric is no share of units."""
    units: int
    """How many were drawn and labeled."""
    drawn_from: int
    """How many there were."""


class Bounds(NamedTuple):
    """From where to where a share may be."""

    low: float
    high: float


def bounds(right: int, units: int) -> Bounds:
    """The interval of a share of which so many of `units` drawn at random, at least one, are
    right."""
    tail, wrong = (1 - CONFIDENCE) / 2, units - right
    return Bounds(
        float(special.betaincinv(right, wrong + 1, tail)) if right else 0.0,
        float(special.betaincinv(right + 1, wrong, 1 - tail)) if wrong else 1.0,
    )


def estimates(record: Record) -> Iterator[Estimate]:
    """Of the models of a run, in order, each once what was drawn after it has labels."""
    if not record.explores:
        return
    name = f"{EXPLORED}{record.task.headline}"
    for cycle in range(record.begun() - 1):
        model, after = record.result(cycle, Evaluated), record.result(cycle + 1, Evaluated)
        chosen = record.result(cycle, Chosen)
        if model is None or after is None or chosen is None or not after.explored:
            continue
        value = after.metrics.get(name)
        if value is None:
            continue
        low = high = None
        if record.task.headline_is_share:
            low, high = bounds(round(value * after.explored), after.explored)
        yield Estimate(cycle, model.labels, value, low, high, after.explored, chosen.drawn_from)


def together(seeds: Sequence[Estimate]) -> Estimate:
    """Of models of several seeds after the same cycle: their mean, each by the units it is of. The
    interval that takes all these for units of one model is at least as wide as theirs."""
    first, units = seeds[0], sum(each.units for each in seeds)
    value = sum(each.value * each.units for each in seeds) / units
    low = high = None
    if first.low is not None:
        low, high = bounds(round(value * units), units)
    drawn_from = round(mean(each.drawn_from for each in seeds))
    return Estimate(first.cycle, first.labels, value, low, high, units, drawn_from)


def header(headline: str) -> list[str]:
    """Of the table of `rows`."""
    name = metric_of(headline)
    what = f"{name}{metric.unit(name)}"
    measured = [f"test {what}"] if is_tested(headline) else []
    return ["cycle", "n", "labels", "drawn", "of", what, "from", "to", *measured]


def rows(runs: Sequence["Run"], headline: str) -> list[list[str]]:
    """A row for each cycle whose model some of these runs of an arm have an estimate of; where
    there are test images, what these say beside it."""
    cycles = sorted({each.cycle for run in runs for each in run.explored})
    return [_row(runs, headline, cycle) for cycle in cycles]


def _row(runs: Sequence["Run"], headline: str, cycle: int) -> list[str]:
    name = metric_of(headline)
    found = [(run, each) for run in runs for each in run.explored if each.cycle == cycle]
    all_ = together([each for _, each in found])
    tested = []
    if is_tested(headline):
        values = [run.points[each.labels] for run, each in found if each.labels in run.measured]
        tested = [_shown(mean(values) if values else None, name)]
    return [
        *(str(cycle), str(len(found)), f"{all_.labels:,}", f"{all_.units:,}"),
        f"{all_.drawn_from:,}",
        *(_shown(value, name) for value in (all_.value, all_.low, all_.high)),
        *tested,
    ]


def _shown(value: float | None, name: str) -> str:
    if value is None:
        return NONE
    return f"{metric.scale(name) * value:.{2 if name in metric.RATES else 4}f}"


def better_than_random(strategies: Sequence[str], headline: str) -> str:
    """What can be said of that, of runs without test images, and what would allow more."""
    name = metric_of(headline)
    names = ", ".join(dict.fromkeys(strategies))
    unknown = (
        f"whether {names} is better than random cannot be known: no model has learned from what"
        " random would have bought, and the labels of one choice do not tell what another would"
        " have taught"
    )
    if headline.startswith(EXPLORED):
        return (
            f"{unknown}; what explore drew tells the {name} of each model, not that. Test images"
            " and a second run with strategy random would"
        )
    return (
        f"{unknown}. With explore: 0.1 a tenth of each purchase is drawn at random, and tells the"
        f" {name} of each model on what has no label, not that; test images and a second run with"
        " strategy random would"
    )
