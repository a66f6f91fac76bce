"""Commands that show what there is to choose from: lists of parts, and one part in full."""

from typing import Annotated

import typer

import rayal
from rayal.cli.options import PARTS, AsJson, Packages, app
from rayal.cli.output import print_json, visible
from rayal.cli.work import allowed

Name = Annotated[
    str | None, typer.Argument(help="Show one in full: its options, needs, cost, source, example.")
]


def _verb(kind: str) -> None:
    help = f"The {kind} there are; with a name all about one."

    @app.command(kind, help=help, rich_help_panel=PARTS)
    def show(name: Name = None, plugins: Packages = [], json: AsJson = False) -> None:  # noqa: B006
        if name is None:
            return _list(kind, json)
        described = rayal.describe(kind, name, plugins=allowed(plugins))
        print_json(described.to_dict()) if json else print(visible(str(described)))


def _list(kind: str, json: bool) -> None:
    found = rayal.list_parts(kind)
    if json:
        return print_json([{"name": name, "what": what} for name, what in found.items()])
    width = max(map(len, found))
    for name, what in found.items():
        print(f"{name:{width}}  {what}")


for _kind in (
    "strategies",
    "schemes",
    "models",
    "datasets",
    "oracles",
    "formats",
    "tasks",
    "trackers",
):
    _verb(_kind)
