"""The command of sweeps."""

from pathlib import Path
from typing import Annotated

import typer

from rayal.cli.options import EXPERIMENTS, Address, BreakLock, Out, Overrides, Packages, app, placed
from rayal.cli.output import note, print_table, show_tracker, visible
from rayal.cli.work import allowed, cluster

Config = Annotated[
    Path,
    typer.Argument(help="The experiment, a YAML file with a block `sweep:`.", callback=placed),
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
    from rayal.cli.console import SweepConsole
    from rayal.experiment import config as configs
    from rayal.experiment.sweep.settings import SweptExperiment
    from rayal.workflows.sweep import start_sweep

    named = allowed(plugins)
    x = configs.load_as(SweptExperiment, config, set, named)
    with start_sweep(x, out, break_lock=break_lock, plugins=named) as opened:
        url = opened.folder.url
        note(f"{'sweep' if opened.left else 'complete already'}  {url}")
        with SweepConsole() as console:
            found = opened.run(lambda: cluster(address), console)
    print_table(found.summary.to_rich())
    for line in found.lines():
        print(visible(line))
    print(visible(f"tables and figures  {url}"))
    if trials := opened.records():
        show_tracker(x.tracking, trials[0])
