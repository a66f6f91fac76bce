"""How well the cycles of finished runs are foretold by those before them.

    python jobs/analyse/forecast.py RUN... [--out DIR] [--least 4]

Every run is forecast from its first 4, 5, ... cycles; each later cycle, up to 4 times the labels
that were known, is then compared with its interval. No forecast sees what it is judged by. Written:

- coverage.csv: by how many cycles ahead, and by how many times the labels, the share of later
  measurements inside their 90 % interval, the mean width of that and the mean error of its middle;
  beside them the error of saying that nothing will change.
- by_kind.csv: the same by experiment, dataset and strategy.
- curves.csv: the curves themselves, a row per evaluated cycle.

Forecasts of one curve are not independent of each other, nor are the curves of one experiment.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import analysis
import numpy as np
import typer
from analysis import Results, Row

from rayal.forecasting.learning_curve import ENOUGH, FARTHEST
from rayal.forecasting.of_points import curve_of, usable
from rayal.runs.measured import Measured, measured
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage import csv_file

TIMES = (1.25, 1.5, 2.0, 3.0, 4.0)
"""Ends of the classes of how far ahead a forecast is, in times the labels that were known."""
AHEAD = 5
"""Cycles ahead that have a row of their own."""


class Trial(NamedTuple):
    """One later cycle, and what was said of it."""

    known: int
    """Cycles that the forecast was made from."""
    ahead: int
    """Cycles from the last of them."""
    times: float
    """Its labels, divided by theirs."""
    inside: bool
    width: float
    error: float
    """Of the middle of the interval, absolute."""
    unchanged: float
    """Error of saying that nothing will change, absolute."""


def trials(points: Sequence[Measured], least: int = ENOUGH) -> Iterator[Trial]:
    """All forecasts of a curve from `least` cycles or more, by what came later."""
    points = usable(points)
    for known in range(least, len(points)):
        curve = curve_of(points[:known])
        assert curve is not None, "as many as are enough"
        for ahead, later in enumerate(points[known:], start=1):
            if later.at > curve.farthest:
                break
            said = curve.measured(later.at)
            yield Trial(
                known,
                ahead,
                later.at / curve.last,
                said.low - 1e-9 <= later.value <= said.high + 1e-9,
                said.high - said.low,
                abs(said.value - later.value),
                abs(points[known - 1].value - later.value),
            )


def main(
    runs: analysis.Runs,
    out: analysis.Out = Path("forecast"),
    least: Annotated[int, typer.Option(min=ENOUGH, help="Cycles that are known at least.")] = 4,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """Coverage, width and error of forecasts of these runs."""
    found = [(record, _points(record)) for record in analysis.records(runs, plugins)]
    curves = {record.folder.url: points for record, points in found if len(points) > least}
    kinds = {record.folder.url: _kind(record) for record, _ in found}
    tried = {url: [*trials(points, least)] for url, points in curves.items()}
    results = Results(out)
    whole = [trial for each in tried.values() for trial in each]
    print(f"{len(curves)} curves\n")
    results.table("coverage", [_row(what, some) for what, some in _classes(whole)])
    by_kind: dict[str, list[Trial]] = defaultdict(list)
    for url, each in tried.items():
        by_kind[" ".join(map(str, kinds[url].values()))] += each
    results.table("by_kind", [_row(kind, some) for kind, some in sorted(by_kind.items())])
    written = [
        {**kinds[record.folder.url], "seed": record.experiment()["seed"], **point._asdict()}
        for record, points in found
        for point in points
    ]
    results.text("curves.csv", csv_file.dump_records(written))


def _points(record: Record) -> list[Measured]:
    results = (record.result(cycle, Evaluated) for cycle in range(record.begun()))
    evaluated = [each for each in results if each is not None]
    return measured(evaluated, record.headline, record.tested, record.budget().unit)


def _kind(record: Record) -> Mapping[str, Any]:
    x = record.experiment()
    return {"name": x["name"], "model": x["model"]["name"], "strategy": x["strategy"]["name"]}


def _classes(some: Sequence[Trial]) -> Iterator[tuple[str, list[Trial]]]:
    for ahead in range(1, AHEAD + 1):
        yield f"{ahead} cycles ahead", [each for each in some if each.ahead == ahead]
    low = 1.0
    for high in TIMES:
        yield f"{low:g} to {high:g} times", [each for each in some if low < each.times <= high]
        low = high
    yield f"all, up to {FARTHEST:g} times", [*some]


def _row(what: str, some: Iterable[Trial]) -> Row:
    each = [*some]
    told = {"forecasts": len(each)}
    for name in ("inside", "width", "error", "unchanged"):
        values = [float(getattr(trial, name)) for trial in each]
        told[name] = round(float(np.mean(values)), 4) if values else None  # type: ignore[assignment]
    return {"of": what, **told}


if __name__ == "__main__":
    analysis.launch(main)
