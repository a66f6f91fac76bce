"""Options that several commands share, and the application they belong to."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rayal.errors import UsageError
from rayal.location import expanded
from rayal.storage import yaml_file

EXPERIMENTS, POOLS, LABELS = "Experiments", "Pools", "Labels"
CLUSTERS, PARTS = "Clusters", "Parts"
"""Groups of commands, in the order of the help."""

EXAMPLES = """\b
Examples:
  rayal demo
  rayal init mine --data image_folder --root photos
  rayal plan configs/digits/cod.yaml
  rayal run configs/digits/cod.yaml --set seed=1 --out runs/mine
  rayal sweep configs/sweeps/digits_tod_lambda_alpha.yaml
  rayal status runs sweeps
  rayal report runs --json
  rayal forecast runs/mine --target 0.95 --price 0.08
  rayal replay runs/mine --cycle 2 --strategy margin --strategy core_set --forward
  rayal prune sweeps --shards none --dry-run
  rayal score --checkpoint runs/mine --pool photos --strategies entropy,margin --out scores
  rayal select scores --strategy entropy --budget 100
  rayal submit run configs/digits/cod.yaml --address http://HEAD:8265 --out /shared/runs/mine
  rayal strategies
  rayal strategies cod
  rayal config show configs/digits/cod.yaml --set scheme.epochs=5
"""


class Grouped(TyperGroup):
    """Help with the commands in groups, in plain text: it is read in pipes and files too."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, Any]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panel = command.rich_help_panel
            groups.setdefault(panel if isinstance(panel, str) else "Commands", []).append(
                (name, command)
            )
        order = [EXPERIMENTS, POOLS, LABELS, CLUSTERS, PARTS]
        for title in sorted(groups, key=lambda t: order.index(t) if t in order else len(order)):
            with formatter.section(title):
                rows = [(name, each.get_short_help_str(SHORT)) for name, each in groups[title]]
                formatter.write_dl(rows)


SHORT = 100  # signs of a command's line in the help

app = typer.Typer(
    name="rayal",
    cls=Grouped,
    help="Active-learning experiments on Ray, tracked in MLflow.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def placed(given: Any) -> Any:
    """A path or URL of the command line, or several, with variables and `~` replaced as in files.

    Typer calls it for each option that takes one.
    """
    try:
        if isinstance(given, list | tuple):
            return [expanded(str(each)) for each in given]
        return given if given is None else type(given)(expanded(str(given)))
    except ValueError as error:
        raise UsageError(str(error)) from error


def written_in(given: Path | None) -> Path | None:
    """As `placed`, for a file of an experiment. It is looked at before torch is imported, which
    takes seconds: UsageError where it cannot be read, or is no YAML."""
    path: Path | None = placed(given)
    if path is not None:
        yaml_file.check(path)
    return path


VOLATILE = ("memory://",)
"""Where files are gone with the process that wrote them."""


def kept(given: str | None) -> str | None:
    """As `placed`, for a place of results; UsageError for one that nobody could read afterwards."""
    place: str | None = placed(given)
    if place is not None and place.startswith(VOLATILE):
        raise UsageError(
            f"--out {place}: what is written there is gone when this command ends; use a path, or"
            " the URL of a storage such as s3://bucket/runs"
        )
    return place


def on_disk(given: Path | None) -> Path | None:
    """As `placed`, on this machine; UsageError for a URL, of which a path would make a folder
    `s3:`."""
    path: Path | None = placed(given)
    if re.match(r"[a-z0-9+]{2,}:/", str(path)):
        raise UsageError(f"{path} is a URL; give a path of this machine")
    return path


Config = Annotated[Path, typer.Argument(help="The experiment, a YAML file.", callback=written_in)]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Change one value, a.b=v; may be repeated.")
]
Packages = Annotated[
    list[str], typer.Option("--plugins", help="Accept parts from this package of yours.")
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster, host:port; without it one starts on this machine.")
]
Out = Annotated[
    str | None, typer.Option("--out", help="Run folder, a path or a URL.", callback=kept)
]
Runs = Annotated[
    list[str], typer.Argument(help="Run folders, or folders of run folders.", callback=placed)
]
Units = Annotated[
    float | None,
    typer.Option(help="Plan for a pool of so many units, such as 1e8, as those that are there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
RetryBad = Annotated[
    bool, typer.Option("--retry-bad", help="Look again at images that could not be decoded.")
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take over from a writer that died on another machine.")
]
