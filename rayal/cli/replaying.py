"""The command that looks at what was not done: replay."""

from pathlib import Path
from typing import Annotated

import typer

import rayal
from rayal.cli.options import EXPERIMENTS, AsJson, Packages, app, kept, on_disk, placed
from rayal.cli.output import note, print_json, print_table
from rayal.cli.scoring import written
from rayal.cli.work import allowed
from rayal.errors import Apart


@app.command(rich_help_panel=EXPERIMENTS)
def replay(
    run: Annotated[str, typer.Argument(help="A run folder.", callback=placed)],
    strategy: Annotated[
        list[str],
        typer.Option(help="A name, or a YAML mapping with options; may be repeated."),
    ],
    cycle: Annotated[
        int | None, typer.Option(help="Of which cycle; by default the last one that chose.")
    ] = None,
    forward: Annotated[
        bool,
        typer.Option("--forward", help="Ask the models of that cycle again, where it takes that."),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(help="Folder for replay.json and the units, a path or a URL.", callback=kept),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the page with galleries: replay.html, say.", callback=on_disk),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, host:port, that asks the models; needs --out."),
    ] = None,
    plugins: Packages = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """What other strategies would have bought in a cycle of a run, which is only read.

    The same units that a run of theirs would have bought from that state: the same labels, models,
    candidates, budget, guards and seeds. What the run has kept suffices for strategies that it
    scored, also as observers, and for random; --forward asks the models of that cycle for others.
    For example: rayal replay runs/mine --cycle 2 --strategy margin --strategy core_set --forward
    """
    from rayal.api.replay import Asked
    from rayal.experiment import config

    named, asked, apart = allowed(plugins), [], Apart()
    for each in strategy:
        with apart.kept():
            options = {"strategy": written(each, "--strategy")}
            asked.append(config.from_options(options, [], Asked, named).strategy)
    apart.end()
    found = rayal.replay(
        run,
        strategy=asked,
        cycle=cycle,
        forward=forward,
        out=out,
        address=address,
        plugins=named,
    )
    print_json(found.to_dict()) if json else print_table(found.to_rich())
    if out is not None:
        note(f"replay  {out}")
    if html is not None:
        note(f"page  {found.write_html(html)}")
    found.check()
