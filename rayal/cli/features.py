"""The command of features: what a network says of every image, computed once."""

from typing import Annotated

import typer

import rayal
from rayal.cli.options import POOLS, Address, BreakLock, Overrides, Packages, Units, app, kept
from rayal.cli.output import print_table, visible
from rayal.cli.scoring import written
from rayal.cli.work import allowed


@app.command(rich_help_panel=POOLS)
def features(
    dataset: Annotated[
        str, typer.Argument(help="The dataset whose images are looked at, a name or YAML mapping.")
    ],
    out: Annotated[
        str, typer.Option(help="Folder for the features, a path or a URL.", callback=kept)
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Weights: a rayal run or its .safetensors file, a folder of timm or transformers,"
            " or anybody's .pt file."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Architecture of weights that do not say it: a name or YAML mapping."),
    ] = None,
    set: Overrides = [],  # noqa: B006
    address: Address = None,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it will take: time, disk and memory.")
    ] = False,
    units: Units = None,
) -> None:
    """Keep what a frozen network says of every image of a dataset; the same command continues.

    The folder is a dataset, {name: features, root: OUT}: heads train on it in seconds. Any field
    may be changed by --set, for example --set batch=64 --set compute.engine=local.
    """
    from rayal.cli.console import Console, telling
    from rayal.experiment import config

    named = allowed(plugins)
    given = {
        "dataset": written(dataset, "DATASET"),
        "checkpoint": checkpoint,
        "model": None if model is None else written(model, "--model"),
    }
    given = {key: value for key, value in given.items() if value is not None}
    x = config.from_options(given, set, rayal.FeaturePass, named)
    if plan or units is not None:
        return print_table(rayal.plan(x, units=units, plugins=named).to_rich())
    with telling("features", lambda url: Console()) as told:
        made = rayal.features(
            x, out, address=address, on_event=told, break_lock=break_lock, plugins=named
        )
    for line in made.lines:
        print(visible(line))
