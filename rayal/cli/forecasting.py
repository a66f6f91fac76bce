"""The command that looks ahead: forecast."""

from pathlib import Path
from typing import Annotated

import typer

import rayal
from rayal.cli.options import EXPERIMENTS, AsJson, Packages, Runs, app, on_disk
from rayal.cli.output import note, print_json, visible
from rayal.cli.work import allowed


@app.command(rich_help_panel=EXPERIMENTS)
def forecast(
    runs: Runs,
    target: Annotated[
        float | None, typer.Option(help="A value of the metric, in (0, 1]: with how many labels?")
    ] = None,
    labels: Annotated[
        int | None, typer.Option(help="What is expected with so many labels?")
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            help="Of one label, or click where clicks are counted, or hour of annotation where"
            " seconds are."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw it into this folder.", callback=on_disk)
    ] = None,
    plugins: Packages = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """What more labels will bring, with intervals: when to stop, how many to buy."""
    found = rayal.forecast(
        runs, target=target, labels=labels, price=price, plugins=allowed(plugins)
    )
    print_json(found.to_dict()) if json else print(visible(str(found)))
    if out is not None:
        note("forecast  " + "  ".join(map(str, found.draw(out))))
    found.check()
