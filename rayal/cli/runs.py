"""Commands of runs: run, plan, status, report and sync."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rayal.cli.jobs import Insecure, show_jobs
from rayal.cli.options import (
    EXPERIMENTS,
    Address,
    AsJson,
    BreakLock,
    Config,
    Out,
    Overrides,
    Packages,
    Runs,
    app,
    on_disk,
    placed,
)
from rayal.cli.output import note, print_json, print_table, show_tracker, visible
from rayal.cli.work import allowed, engine
from rayal.errors import Apart, UsageError
from rayal.plugins import Plugins

if TYPE_CHECKING:
    from rayal.runs.record import Record


@app.command(rich_help_panel=EXPERIMENTS)
def run(
    config: Config,
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    out: Out = None,
    address: Address = None,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
) -> None:
    """Run an experiment, or continue it: the same command again goes on where it stopped."""
    from rayal.cli.console import RunConsole
    from rayal.report.status import cycle_table
    from rayal.workflows.run import start_run

    x, named = _experiment(config, set, plugins)
    with start_run(x, out, break_lock=break_lock, plugins=named) as opened:
        record = opened.record
        url = record.folder.url
        note(f"{'complete already' if opened.complete else 'run folder'}  {url}")
        with RunConsole(record, x.task.headline, x.scheme.epochs) as console:
            opened.run(partial(engine, x.compute, address), [console])
    print_table(cycle_table(record, x.task.headline))
    print(visible(f"curve   {url}/curve.png"))
    show_tracker(x.tracking, record)


@app.command(rich_help_panel=EXPERIMENTS)
def plan(
    config: Config,
    set: Overrides = [],  # noqa: B006
    plugins: Packages = [],  # noqa: B006
    probe: Annotated[bool, typer.Option(help="Estimate the time from a few batches.")] = True,
    device_hour_price: Annotated[
        float | None, typer.Option(min=0, help="Of one GPU (or machine without) for an hour.")
    ] = None,
    label_price: Annotated[
        float | None, typer.Option(min=0, help="Of one label, or click where clicks are counted.")
    ] = None,
    json: AsJson = False,
) -> None:
    """What a run or a sweep will do and what it costs; every problem at once."""
    from rayal.experiment import config as configs
    from rayal.experiment.sweep.settings import SweptExperiment
    from rayal.workflows import plan as plans
    from rayal.workflows.plan.sweep import SweepPlan, make_sweep
    from rayal.workflows.plan.tariff import Tariff

    named, tariff = allowed(plugins), Tariff(device_hour_price, label_price)
    made: plans.Plan | SweepPlan
    if configs.is_sweep(config, set):
        swept = configs.load_as(SweptExperiment, config, set, named)
        made = make_sweep(swept, named, probe=probe, tariff=tariff)
    else:
        x = configs.load(config, set, named)
        made = plans.make(x, x.dataset.open(), probe=probe, tariff=tariff)
    print_json(made.to_dict()) if json else print_table(made.to_rich())


@app.command(rich_help_panel=EXPERIMENTS)
def status(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Folders of runs and scorings, or above; with --address, ids of jobs.",
            callback=placed,
        ),
    ] = [],  # noqa: B006
    plugins: Packages = [],  # noqa: B006
    address: Annotated[
        str | None, typer.Option(help="Show the jobs that were submitted to http://HEAD:8265.")
    ] = None,
    insecure: Insecure = False,
    json: AsJson = False,
) -> None:
    """Where runs and scorings are, from their folders alone: cycle, stage, labels, metric; images.
    Or submitted jobs."""
    from rayal.report.status import status_folder, status_notes, status_rows, status_table

    if address is not None:
        return show_jobs(runs, address, insecure, json)
    if not runs:
        raise UsageError("give run folders, or --address for the jobs of a cluster")
    apart = Apart()
    rows = status_rows(runs, allowed(plugins), apart)
    if json:
        print_json(rows)
    elif rows:
        print(visible(f"in {status_folder(rows)}"))
        print_table(status_table(rows), fit=True)
        for line in status_notes(rows):
            print(visible(line))
    apart.end()


@app.command(rich_help_panel=EXPERIMENTS)
def report(
    runs: Runs,
    format: Annotated[
        Literal["table", "csv", "markdown", "json"], typer.Option(help="What is printed.")
    ] = "table",
    out: Annotated[Path, typer.Option(help="Where the figures go.", callback=on_disk)] = Path(
        "report"
    ),
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures", help="Predict what each cycle chose, into RUN/analysis (for `sync`)."
        ),
    ] = False,
    images: Annotated[int, typer.Option(min=1, help="Images of a cycle, for --pictures.")] = 4,
    plugins: Packages = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """Learning curves with bands over seeds, results per class, tables, areas and paired tests."""
    from rayal.report import curves, per_class, tables
    from rayal.runs.record import find_records
    from rayal.storage.folder import storage_errors

    apart = Apart()
    records = _readable(find_records(runs, allowed(plugins), apart), apart)
    if not records:
        return apart.end()
    summary = tables.summarise(records)
    match "json" if json else format:
        case "table":
            print_table(summary.to_rich())
        case "csv":
            print(summary.to_csv().replace("\r\n", "\n"), end="")  # the terminal's line ends
        case "markdown":
            print(summary.to_markdown(), end="")
        case "json":
            print(summary.to_json(), end="")
    classes = per_class.files(records)
    with storage_errors(str(out)):
        out.mkdir(parents=True, exist_ok=True)
        curves.draw(summary, out / "curves.png", out / "curves.svg")
        for name, data in classes.items():
            (out / name).write_bytes(data)
    note(f"curves  {out / 'curves.png'}  {out / 'curves.svg'}")
    if classes:
        note("classes  " + "  ".join(str(out / name) for name in classes))
    if pictures:
        _draw_pictures(records, images, apart)
    apart.end()


def _readable(records: "list[Record]", apart: Apart) -> "list[Record]":
    """Those of which everything that a report shows is there."""
    from rayal.report import per_class
    from rayal.report.runs import Run

    whole = []
    for record in records:
        with apart.kept():
            Run.read(record)
            per_class.grids(record)
            whole.append(record)
    return whole


def _draw_pictures(records: "list[Record]", images: int, apart: Apart) -> None:
    from rayal.report import pictures

    for record in records:
        folder = record.folder / pictures.FOLDER
        with apart.kept():
            for name, data in pictures.files(record, images):
                folder.write(name, data)
                note(f"picture  {folder.url}/{name}")


@app.command(rich_help_panel=EXPERIMENTS)
def sync(runs: Runs, plugins: Packages = []) -> None:  # noqa: B006
    """Send to the tracker what it does not have yet."""
    from rayal.experiment import config
    from rayal.runs.record import find_records
    from rayal.workflows.tracking import show

    apart, sent = Apart(), list[tuple[Any, Any]]()
    for record in find_records(runs, allowed(plugins), apart):
        with apart.kept():
            tracking = config.resolved(record.experiment(), record.plugins).tracking
            tracking.sync(record)
            where = tracking.address() or "no tracker"
            print(visible(f"{record.folder.url}  in step with {where}"))
            sent.append((tracking, record))
    for tracking in {tracking for tracking, _ in sent}:
        with apart.kept():
            show(tracking, [record for other, record in sent if other == tracking])
    apart.end()


def _experiment(path: Path, overrides: list[str], packages: list[str]) -> tuple[Any, Plugins]:
    from rayal.experiment import config

    plugins = allowed(packages)
    return config.load(path, overrides, plugins), plugins
