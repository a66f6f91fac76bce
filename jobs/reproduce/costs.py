"""What methods cost beside the paper's: Table 4 of DAST-AL, Table 3 of TOD.

    python jobs/reproduce/costs.py --table dast_al --set dataset.download=true
    python jobs/reproduce/costs.py --table tod_svhn --methods core_set,vaal,ll4al,cod
    python jobs/reproduce/costs.py --small

One cycle of each method under the table's protocol, on the local engine, one after the other, after
one that does not count. Every column is measured apart, by the stages of the run: training of the
task network with what learns beside it in the same steps; `fit`, what is trained after it; the
scoring pass; the choice. The start of each stage and the reading of images are inside. `extra M`
are the millions of parameters beside the task network, `extra MiB` the bytes that the run keeps of
them, statistics included.

The papers' seconds are those of their machines; what can be compared is the order. Their columns
differ in what they count: TOD's sampling leaves out the training of VAAL's autoencoder, DAST-AL's
training holds it; its 88.18 and 90.22 million parameters of VAAL and SRAAL are MiB.

`--table reduced` is of a little of CIFAR-10, an eighth-width network, autoencoders of a sixteenth
of the published width and short fits: for machines without a GPU, with no paper's numbers beside.
`--small` is of digits, a minute on two cores, to try it: its numbers mean nothing.

OUT/costs/<table>/<method>/ are the runs; one that is there is not run again, and is shown with the
day and the machine that it ran on. OUT/costs_<table>.md and .csv are the tables.
"""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import torch
import typer
from beside import MISSING
from costed import METHODS, REDUCED, SMALL, TABLES, Table, experiment
from planned import differences
from published import Cost
from reproduction import start

from rayal.cli.options import Overrides
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.parts import suggest
from rayal.randomness import derive
from rayal.runs.record import Record
from rayal.runs.results import Fitted, Scored, Trained
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.workflows.run import start_engine, start_run

WHERE = "measured.json"
"""In a run's folder, written last: the run was not interrupted."""


class Measured(NamedTuple):
    """The first cycle of a run."""

    parameters: int
    """Beside the task network."""
    kept: int
    """Bytes of them, and of what statistics there are."""
    train: float
    """Seconds, as all below."""
    fit: float
    score: float
    select: float
    candidates: int
    where: str
    """Day and machine."""

    @property
    def minutes(self) -> float:
        """All together."""
        return (self.train + self.fit + self.score + self.select) / 60


def parameters(x: Experiment) -> int:
    """Of all that is trained or kept beside the task network."""
    card = x.dataset.open().card
    fresh = partial(x.card_for(card).untrained, derive(x.seed, "costs"))
    network, classes = fresh(), len(card.classes)
    made = [spec.build(network, classes, fresh) for spec in x.companions()]
    made += [spec.build(network, classes, card.image) for spec in x.fits()]
    return sum(parameter.numel() for module in made for parameter in module.parameters())


def there(x: Experiment, folder: Folder) -> bool:
    """Whether it was run. UsageError where another experiment was, or where one was cut short: its
    seconds would be those of its last attempt."""
    if not folder.exists("identity.json"):
        return False
    if differing := differences(Record(folder).experiment(), x):
        raise UsageError(
            f"{folder.url} was run with other settings than this command's: {', '.join(differing)};"
            " repeat its --set, or use another --out"
        )
    if not folder.exists(WHERE):
        raise UsageError(f"{folder.url} was cut short, and so are its times; remove this folder")
    return True


def measure(x: Experiment, folder: Folder) -> Measured:
    """Runs it if it was not, and reads what its first cycle took."""
    if not there(x, folder):
        with start_run(x, folder.url) as opened:
            opened.run(partial(start_engine, x.compute))
        folder.write_json(WHERE, {"where": here()})
    record = Record(folder)
    first = next(iter(record.cycles()))
    trained, fitted = record.result(0, Trained), record.result(0, Fitted)
    scored = record.result(0, Scored)
    assert trained is not None and scored is not None, "a complete run has them"
    files = list(trained.companions.values()) + (fitted.files() if fitted else [])
    return Measured(
        parameters(x),
        sum(file.bytes for file in files),
        first["train_seconds"],
        first["fit_seconds"] or 0.0,
        first["score_seconds"],
        first["select_seconds"],
        scored.units,
        folder.read_json(WHERE)["where"],
    )


def here() -> str:
    """This day and machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{day}, {gpu}, {os.cpu_count()} cores, torch {torch.__version__}"


HEADER = (
    *("method", "extra M, paper", "extra M", "extra MiB", "train s, paper", "train s", "fit s"),
    *("sampling s, paper", "score s", "select s", "min, paper", "min"),
)


def row(method: str, paper: Cost | None, ours: Measured | None) -> list[Any]:
    """The cells of a method; None where there is no number."""
    paper = paper or Cost()
    found: list[float | None] = [None] * 7
    if ours is not None:
        found = [
            *(ours.parameters / 1e6, ours.kept / 2**20),
            *(ours.train, ours.fit, ours.score, ours.select, ours.minutes),
        ]
    millions, mib, train, fit, score, select, minutes = found
    return [
        *(method, paper.extra, millions, mib, paper.train, train, fit),
        *(paper.sample, score, select, paper.minutes, minutes),
    ]


def markdown(rows: Sequence[Sequence[Any]]) -> str:
    """As a table; – where there is nothing, "not run" for a method that was not."""
    lines = [HEADER, ["---"] * len(HEADER)]
    for cells in rows:
        run = cells[2] is not None
        ours = {name for name in HEADER if name != "method" and not name.endswith("paper")}
        lines.append(
            [
                _cell(value, "not run" if name in ours and not run else MISSING)
                for name, value in zip(HEADER, cells, strict=True)
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any, missing: str) -> str:
    if value is None:
        return missing
    return value if isinstance(value, str) else f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"


def circumstances(table: Table, x: Experiment, found: Mapping[str, Measured]) -> str:
    """What numbers have to be read with."""
    machines: dict[str, list[str]] = {}
    for method, measured in found.items():
        machines.setdefault(measured.where, []).append(method)
    candidates = next(iter(found.values())).candidates
    return "\n".join(
        [
            f"{x.dataset.part_name()}, {x.model.part_name()}, {x.budget.amounts[0]:,} labels,"
            f" {candidates:,} candidates, {x.scheme.length} epochs, batches of"
            f" {x.scheme.batch_size} in training and of {x.compute.score_batch} in the pass;"
            f" device {x.compute.device}. Paper: {table.source}.",
            *(f"Ours: {where} ({', '.join(methods)})." for where, methods in machines.items()),
        ]
    )


def costs(
    name: str, methods: Sequence[str], given: Sequence[str], out: Folder, small: bool = False
) -> str:
    """Runs them, writes the table after every one; returns its Markdown. Raises UsageError for a
    table or a method that there is not."""
    tables = {**TABLES, "reduced": REDUCED}
    for known, asked in ((tables, [name]), (METHODS, methods)):
        for each in asked:
            if each not in known:
                raise UsageError(f"there is no {each!r} here; {suggest(each, known)}")
    table = SMALL if small else tables[name]
    called = "small" if small else name
    with tempfile.TemporaryDirectory() as scratch:  # starts what starts once in a process
        warm = experiment(table, "random", [*given, "scheme.epochs=1", "scheme.milestones=[]"])
        measure(warm, Folder(scratch) / "warm")
    found: dict[str, Measured] = {}
    for method in METHODS:  # those of earlier commands are in the table
        x, folder = experiment(table, method, given), out / "costs" / called / method
        if method in methods or there(x, folder):
            found[method] = measure(x, folder)
            rows = [row(each, table.published.get(each), found.get(each)) for each in METHODS]
            read = circumstances(table, x, found)
            text = f"### costs: {called}\n\n{markdown(rows)}\n\n{read}\n"
            out.write(f"costs_{called}.md", text.encode())
            out.write(f"costs_{called}.csv", csv_file.dump(HEADER, rows).encode())
    return text


def _command(
    table: Annotated[str, typer.Option(help=f"Of {', '.join(TABLES)}, reduced.")] = "dast_al",
    methods: Annotated[str, typer.Option(help=f"Of {', '.join(METHODS)}; all.")] = "",
    small: Annotated[bool, typer.Option("--small", help="Tiny sizes, to try it.")] = False,
    out: Annotated[str, typer.Option(help="Folder, a path or a URL.")] = "reproductions",
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    chosen = [each.strip() for each in methods.split(",") if each.strip()] or list(METHODS)
    print(costs(table, chosen, set, Folder(out), small))


if __name__ == "__main__":
    start(_command, "reproduce-costs", __doc__)
