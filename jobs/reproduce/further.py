"""Published tables that are no curves of accuracy: by class, and of what analyses find.

Each is a function of the folder of all runs and of the runs of every method, and gives Markdown:
the paper's row, and ours below it; "not run" where there is nothing yet, with what to do.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from beside import MISSING, NOT_RUN

from rayal.report.statistics import interval
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage import csv_file
from rayal.storage.folder import Folder

Further = Callable[[Folder, Mapping[str, Sequence[Record]]], str]
Found = Mapping[str, Mapping[str, Sequence[float]]]
"""Method -> column -> a value for each seed."""
ANALYSIS = "analysis"
"""Where analyses are looked for: OUT/analysis/<method>/<file>."""


def whole(title: str, columns: Sequence[str], paper: Found, ours: Found, digits: int) -> str:
    """Two rows for each method that is published or measured."""
    blank = ["---"] * (len(columns) + 3)
    lines = [["method", "whose", "n", *columns], blank]
    for method in dict.fromkeys([*paper, *ours]):
        printed, found = paper.get(method, {}), ours.get(method, {})
        lines.append([method, "paper", MISSING, *_cells(printed, columns, digits, MISSING)])
        n = max(map(len, found.values()), default=0)
        lines.append(["", "ours", str(n), *_cells(found, columns, digits, NOT_RUN)])
    return "\n".join([f"#### {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _cells(
    found: Mapping[str, Sequence[float]], columns: Iterable[str], digits: int, missing: str
) -> list[str]:
    return [_spread(values, digits) if (values := found.get(name)) else missing for name in columns]


def _spread(values: Sequence[float], digits: int) -> str:
    middle = interval(list(values))
    around = "" if middle.half is None else f" ± {middle.half:.{digits}f}"
    return f"{middle.mean:.{digits}f}{around}"


def by_class(
    title: str, metric: str, labels: int, classes: Sequence[str], paper: Mapping[str, Sequence[int]]
) -> Further:
    """A metric that has a value for each class, in percent, with so many labels."""

    def table(_: Folder, runs: Mapping[str, Sequence[Record]]) -> str:
        printed = {
            method: {name: [x] for name, x in zip(classes, values, strict=True)}
            for method, values in paper.items()
        }
        ours: dict[str, dict[str, list[float]]] = {}
        for method in paper:
            ours[method] = defaultdict(list)
            for record in runs.get(method, ()):
                for name, value in _of_classes(record, metric, labels, classes).items():
                    ours[method][name].append(value)
        return whole(title, classes, printed, ours, digits=0)

    return table


def _of_classes(
    record: Record, metric: str, labels: int, classes: Sequence[str]
) -> dict[str, float]:
    """In percent; nothing where the run was not evaluated there."""
    for row in record.cycles():
        evaluated = record.result(row["cycle"], Evaluated)
        if row["labels"] == labels and evaluated is not None:
            each = evaluated.metrics[metric]
            assert isinstance(each, Sequence), f"{metric} has a value for each class"
            named = zip(classes, each, strict=True)
            return {name: 100 * x for name, x in named if x is not None}
    return {}


class Analysis(NamedTuple):
    """What a program of jobs/analyse finds in the runs of one method."""

    program: str
    """Its name there."""
    file: str
    """The CSV that it writes."""
    column: str
    """Whose values are the columns of the table: `labels` or `cycle`."""
    values: Mapping[str, str]
    """Column of the CSV that holds the numbers -> what ours is called beside the method, `` for the
    method itself."""
    only: tuple[str, str] | None = None
    """A column, and what its rows have to say there."""


def analysed(
    title: str, how: Analysis, paper: Mapping[str, Mapping[int, float]], digits: int, note: str = ""
) -> Further:
    """A published table beside the CSV files of an analysis."""
    columns = [str(at) for at in dict.fromkeys(at for row in paper.values() for at in row)]

    def table(out: Folder, runs: Mapping[str, Sequence[Record]]) -> str:
        printed = {
            method: {str(at): [x] for at, x in values.items()} for method, values in paper.items()
        }
        ours: dict[str, Mapping[str, Sequence[float]]] = {}
        lacking = []
        for method in paper:
            place = out / ANALYSIS / method
            if place.exists(how.file):
                ours |= _read(place.read(how.file), how, method)
            elif complete := [each for each in runs.get(method, ()) if each.complete]:
                folders = " ".join(each.folder.url for each in complete)
                lacking.append(f"    python jobs/analyse/{how.program} {folders} --out {place.url}")
        todo = "Complete runs that were not analysed:\n\n" + "\n".join(lacking) if lacking else ""
        made = whole(title, columns, printed, ours, digits)
        return "\n\n".join(filter(None, [made, note, todo]))

    return table


def _read(data: bytes, how: Analysis, method: str) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for row in csv_file.parse(data).to_pylist():
        if how.only is not None and row[how.only[0]] != how.only[1]:
            continue
        for value, called in how.values.items():
            name = f"{method}{called}"
            found.setdefault(name, defaultdict(list))[row[how.column]].append(float(row[value]))
    return found
