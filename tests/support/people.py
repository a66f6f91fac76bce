"""People who label by script: they fill in the table of a request, as the tests want it."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rayal
from rayal.errors import LabelsPending
from rayal.experiment.experiment import Experiment

TURNS = 20
"""More requests than any of these runs has."""
Says = Callable[[str], str | None]
"""Of a unit the class that somebody says, `SKIP`, or None where the row stays empty."""


def truthful(x: Experiment) -> Says:
    """Somebody who knows the labels of the dataset."""
    store = x.dataset.open()
    truth = store.labels("pool")
    return lambda unit: store.card.classes[int(truth[unit])]


def table(request: Path, says: Says, annotator: str = "", seconds: float | None = 2.5) -> str:
    """What comes back of the table in the folder of a request."""
    with open(request / "to_label.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    for row in rows:
        said = says(row["rayal_id"])
        if said is not None:
            row |= {"label": said, "annotator": annotator}
            row["seconds"] = "" if seconds is None else str(seconds)
    return written(rows)


def written(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    out = csv.DictWriter(text, rows[0].keys())
    out.writeheader()
    out.writerows(rows)
    return text.getvalue()


def requests(run: Path) -> list[Path]:
    """The folders of all requests so far, the one that is open last."""
    found = {path.parent for path in run.glob("cycle-*/*-asked/request/request.json")}
    return sorted(found, key=lambda path: (path.parts[-3], path.parts[-2] != "initial-asked"))


def answer(run: Path, says: Says, annotator: str = "", **options: Any) -> rayal.Added:
    """Answers the open request of a run with a file."""
    file = run.parent / f"{annotator or 'answers'}.csv"
    file.write_text(table(requests(run)[-1], says, annotator, **options))
    return rayal.add_labels(run, file)


def asks(x: Experiment, out: Path) -> bool:
    """Runs until people are asked; False where it came to its end."""
    try:
        rayal.run(x, out)
    except LabelsPending:
        return True
    return False


def run_with(x: Experiment, out: Path, answers: Callable[[], object]) -> None:
    """Runs to the end; `answers` is called whenever people are asked."""
    for _ in range(TURNS):
        if not asks(x, out):
            return
        answers()
    raise AssertionError(f"people were asked more than {TURNS} times")
