"""Commands about experiment files: `rayal config schema`, `rayal config show`."""

import json as jsons
from typing import Annotated

import typer

import rayal
from rayal.cli.options import EXPERIMENTS, AsJson, Config, Overrides, Packages, app
from rayal.cli.output import print_json, visible
from rayal.cli.work import allowed

config = typer.Typer(
    help="What experiment files may say, and what one of them says.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(config, name="config", rich_help_panel=EXPERIMENTS)

WIDEST = 40
"""Columns of a value before its origin goes further right."""


@config.command("schema")
def show_schema(
    sweep: Annotated[bool, typer.Option("--sweep", help="Of files with a block `sweep:`.")] = False,
) -> None:
    """The JSON Schema of experiment files, for editors: redirect it into a file."""
    print(jsons.dumps(rayal.schema(sweep=sweep), indent=1))


@config.command("show")
def show_config(
    config: Config,
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    plugins: Packages = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """Every value of an experiment or a sweep, defaults included, and where it comes from."""
    from rayal.storage.yaml_text import flow

    found = rayal.origins(config, set, plugins=allowed(plugins))
    if json:
        return print_json([each._asdict() for each in found])
    keys = max(len(each.key) for each in found)
    values = min(WIDEST, max(len(flow(each.value)) for each in found))
    for each in found:
        print(visible(f"{each.key:{keys}}  {flow(each.value):{values}}  {each.origin}"))
