"""The command of sweeps."""

from pathlib import Path
from typing import Annotated

import typer

from rayal.cli.options import (
    EXPERIMENTS,
    Address,
    BreakLock,
    Out,
    Overrides,
    Packages,
    app,
    written_in,
)
from rayal.cli.output import print_table, show_tracker, visible
from rayal.cli.work import allowed

Config = Annotated[
    Path,
    typer.Argument(help="The experiment, a YAML file with a block `sweep:`.", callback=written_in),
]


@app.command(rich_help_panel=EXPERIMENTS)
def sweep(
    config: Config,
    set: Overrides = [],  # noqa: B006
    out: Out = None,
    address: Address = None,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
) -> None:
    """Run strategies and settings against each other: the same command again goes on.

    Every trial is a run folder under OUT/trials, which status, report and sync read like any
    other. What is varied is in the block `sweep:` of the file, and so are the seeds; for example
    --set sweep.seeds=[0,1] --set scheme.epochs=10. Seeds, samples and space may grow from one
    command to the next.
    """
    from rayal.api.sweep_file import sweep_file
    from rayal.cli.console import SweepConsole, telling

    named = allowed(plugins)
    with telling("sweep", lambda url: SweepConsole()) as told:
        found = sweep_file(
            config,
            set,
            out=out,
            address=address,
            on_event=told,
            break_lock=break_lock,
            plugins=named,
        )
    print_table(found.to_rich())
    for line in found.lines():
        print(visible(line))
    print(visible(f"tables and figures  {found.url}"))
    if runs := found.runs():
        show_tracker(found.experiment.tracking, runs[0].record)
