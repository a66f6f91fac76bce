"""Commands of runs: run, plan, status, report, prune and sync."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import rayal
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
    Units,
    app,
    on_disk,
    placed,
)
from rayal.cli.output import note, print_json, print_table, show_tracker, visible
from rayal.cli.work import allowed
from rayal.errors import Apart, UsageError, counted

if TYPE_CHECKING:
    from rayal.api.compare import Comparison, Drawn
    from rayal.api.sync import Synced

ReportFormat = Literal["table", "csv", "markdown", "latex", "json"]


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
    from rayal.cli.console import RunConsole, telling
    from rayal.runs.record import Record
    from rayal.storage.folder import Folder

    named = allowed(plugins)
    x = rayal.load(config, set, plugins=named)

    def console(url: str) -> RunConsole:
        last = None if x.fine_tune is None else x.fine_tune.scheme.epochs
        return RunConsole(Record(Folder(url), named), x.headline, x.scheme.epochs, last)

    with telling("run folder", console) as told:
        done = rayal.run(
            x, out, address=address, on_event=told, break_lock=break_lock, plugins=named
        )
    print_table(done.to_rich())
    if done.stopped is not None:
        print(visible(f"ended by {done.stopped}"))
    if done.record.folder.exists("report.html"):
        print(visible(f"page    {done.url}/report.html"))
    print(visible(f"curve   {done.url}/curve.png"))
    show_tracker(x.tracking, done.record)


@app.command(rich_help_panel=EXPERIMENTS)
def plan(
    config: Config,
    set: Overrides = [],  # noqa: B006
    plugins: Packages = [],  # noqa: B006
    units: Units = None,
    probe: Annotated[bool, typer.Option(help="Estimate the time from a few batches.")] = True,
    device_hour_price: Annotated[
        float | None, typer.Option(min=0, help="Of one GPU (or machine without) for an hour.")
    ] = None,
    label_price: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Of one label, or click where clicks are counted, or hour of annotation where"
            " seconds are.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """What a run or a sweep will do and what it costs; every problem at once."""
    from rayal.experiment import config as configs

    named = allowed(plugins)
    load = rayal.load_sweep if configs.is_sweep(config, set) else rayal.load
    made = rayal.plan(
        load(config, set, plugins=named),
        units=units,
        probe=probe,
        device_hour_price=device_hour_price,
        label_price=label_price,
        plugins=named,
    )
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
    if address is not None:
        return show_jobs(runs, address, insecure, json)
    if not runs:
        raise UsageError("give run folders, or --address for the jobs of a cluster")
    found = rayal.status(runs, plugins=allowed(plugins))
    if json:
        print_json(found.rows)
    elif found.rows:
        print(visible(f"in {found.folder}"))
        print_table(found.to_rich(), fit=True)
        for line in found.notes:
            print(visible(line))
    found.check()


@app.command(rich_help_panel=EXPERIMENTS)
def report(
    runs: Runs,
    format: Annotated[
        ReportFormat,
        typer.Option(help="What is printed."),
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the figures go; by default report/, with --html nowhere.",
            callback=on_disk,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write the page, one file that needs nothing else: report.html, say.",
            callback=on_disk,
        ),
    ] = None,
    map_by: Annotated[
        Literal["pca", "umap"],
        typer.Option(
            help="With --html: what puts the map of the pool into two dimensions; umap needs"
            " umap-learn."
        ),
    ] = "pca",
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures", help="Predict what each cycle chose, into RUN/analysis (for `sync`)."
        ),
    ] = False,
    images: Annotated[int, typer.Option(min=1, help="Images of a cycle, for --pictures.")] = 4,
    reference: Annotated[
        list[str],
        typer.Option(
            help="A finished run of one cycle, such as one of all labels: a height beside the"
            " curves. May be repeated.",
            callback=placed,
        ),
    ] = [],  # noqa: B006
    target: Annotated[
        float | None,
        typer.Option(
            help="The metric that labels are counted up to, such as 0.95; by default where random"
            " ends."
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Figures as PDF and SVG too, 3.25 and 6.75 inches wide."),
    ] = False,
    plugins: Packages = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """Verdicts against random, learning curves with bands over seeds, results per class, areas,
    labels to reach a height, paired tests, ranks."""
    found = rayal.compare(
        runs, reference=reference or None, target=target, plugins=allowed(plugins)
    )
    _print_report(found, "json" if json else format)
    if html is not None:
        note(f"page  {found.write_html(html, map_by=map_by)}")
    if html is None or out is not None or paper:
        _tell_drawn(found.draw(out or Path("report"), for_paper=paper))
    apart = Apart(found.errors)
    if pictures:
        with apart.kept():
            found.draw_pictures(images, on_picture=lambda url: note(f"picture  {url}"))
    apart.end()


def _print_report(found: "Comparison", format: ReportFormat) -> None:
    match format:
        case "table":
            print_table(found.to_rich())
        case "csv":
            print(found.to_csv().replace("\r\n", "\n"), end="")  # the terminal's line ends
        case "markdown":
            print(found.to_markdown(), end="")
        case "latex":
            print(found.to_latex(), end="")
        case "json":
            print(found.to_json(), end="")


def _tell_drawn(drawn: "Drawn") -> None:
    """Which files were written."""
    for what in ("curves", "classes", "tables"):
        if paths := getattr(drawn, what):
            note(f"{what}  " + "  ".join(map(str, paths)))
    if drawn.paper:
        note(f"paper  {counted(len(drawn.paper), 'file')} such as {drawn.paper[0]}")


@app.command(rich_help_panel=EXPERIMENTS)
def prune(
    runs: Runs,
    weights: Annotated[
        Literal["all", "last", "none"], typer.Option(help="Models of cycles that stay.")
    ] = "last",
    shards: Annotated[
        Literal["all", "last", "none"], typer.Option(help="Scores of passes that stay.")
    ] = "last",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
    json: AsJson = False,
) -> None:
    """Remove large files of past cycles from runs and sweeps; say what is still possible.

    `last` leaves the newest files and whatever a run needs to go on, `none` nothing in a complete
    run. Picks, labels, metrics and curves always stay.
    """
    found = rayal.prune(
        runs,
        weights=weights,
        shards=shards,
        dry_run=dry_run,
        plugins=allowed(plugins),
        break_lock=break_lock,
    )
    if json:
        print_json(found.to_dict())
    elif found.runs:
        print_table(found.to_rich(), fit=True)
        print(found.total)
    found.check()


@app.command(rich_help_panel=EXPERIMENTS)
def sync(runs: Runs, plugins: Packages = []) -> None:  # noqa: B006
    """Send to the tracker what it does not have yet."""

    def told(done: "Synced") -> None:
        print(visible(f"{done.url}  in step with {done.tracker or 'no tracker'}"))

    rayal.sync(runs, plugins=allowed(plugins), on_run=told)
