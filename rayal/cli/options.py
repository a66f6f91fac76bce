"""Options that several commands share, and the application they belong to."""

import re
from pathlib import Path
from typing import Annotated

import typer

from rayal.errors import UsageError

VOLATILE = ("memory://",)
"""Where files are gone with the process that wrote them."""


def lasting(out: str | None) -> str | None:
    """The place of a command's results; UsageError for one that nobody could read afterwards."""
    if out is not None and out.startswith(VOLATILE):
        raise UsageError(
            f"--out {out}: what is written there is gone when this command ends; use a path, or the"
            " URL of a storage such as s3://bucket/runs"
        )
    return out


def on_disk(path: Path) -> Path:
    """A path of this machine; UsageError for a URL, of which a path would make a folder `s3:`."""
    if re.match(r"[a-z0-9+]{2,}:/", str(path)):
        raise UsageError(f"{path} is a URL, and a path of this machine is needed here")
    return path


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
Out = Annotated[
    str | None, typer.Option("--out", help="Run folder, a path or a URL.", callback=lasting)
]
Runs = Annotated[list[str], typer.Argument(help="Run folders, or folders of run folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
RetryBad = Annotated[
    bool, typer.Option("--retry-bad", help="Look again at images that could not be decoded.")
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take over from a writer that died on another machine.")
]
