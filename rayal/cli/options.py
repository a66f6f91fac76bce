"""Options that several commands share, and the application they belong to."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="rayal",
    help="Active-learning experiments on Ray, tracked in MLflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)

Config = Annotated[Path, typer.Argument(help="The experiment, a YAML file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Change one value, a.b=v; may be repeated.")
]
Packages = Annotated[
    list[str], typer.Option("--plugins", help="Accept parts from this package of yours.")
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster, host:port; without it one starts on this machine.")
]
Out = Annotated[str | None, typer.Option("--out", help="Run folder, a path or a URL.")]
Runs = Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take over from a writer that died on another machine.")
]
