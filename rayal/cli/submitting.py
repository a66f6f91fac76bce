"""Commands that a cluster runs as a job: `submit run`, `submit sweep` and `submit score`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rayal
from rayal.cli.jobs import Insecure, Server, follow, how
from rayal.cli.options import (
    CLUSTERS,
    BreakLock,
    Config,
    Out,
    Overrides,
    Packages,
    RetryBad,
    app,
    kept,
)
from rayal.cli.output import note
from rayal.cli.work import allowed

if TYPE_CHECKING:
    from rayal.api.submit import Submitted

Detach = Annotated[bool, typer.Option("--detach", help="Print the job's id, do not follow it.")]
Env = Annotated[
    list[str], typer.Option("--env", help="NAME=value for the job, no secret; may be repeated.")
]
WorkingDir = Annotated[
    Path, typer.Option("--working-dir", help="Folder of your code, which is sent without data.")
]

submit = typer.Typer(
    help="Run a command as a job of a Ray cluster, and follow it to its end.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(submit, name="submit", rich_help_panel=CLUSTERS)


@submit.command("run")
def submit_run(
    config: Config,
    set: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    out: Out = None,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
    address: Server = None,
    detach: Detach = False,
    env: Env = [],  # noqa: B006
    working_dir: WorkingDir = Path(),
    insecure: Insecure = False,
) -> None:
    """Run an experiment on a cluster; the same command again goes on.

    The file is checked here and sent, with your code and this very rayal. The
    cluster has Ray, torch and so on, and sees the data and --out.
    """
    x = rayal.load(config, set, plugins=allowed(plugins))
    options = _options(address, env, working_dir, insecure, break_lock, plugins)
    _told(rayal.submit(x, out, **options), detach)


@submit.command("sweep")
def submit_sweep(
    config: Config,
    set: Overrides = [],  # noqa: B006
    out: Out = None,
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
    address: Server = None,
    detach: Detach = False,
    env: Env = [],  # noqa: B006
    working_dir: WorkingDir = Path(),
    insecure: Insecure = False,
) -> None:
    """Run a sweep on a cluster; the same command again goes on."""
    x = rayal.load_sweep(config, set, plugins=allowed(plugins))
    options = _options(address, env, working_dir, insecure, break_lock, plugins)
    _told(rayal.submit(x, out, **options), detach)


@submit.command("score")
def submit_score(
    checkpoint: Annotated[str, typer.Option(help="As of `rayal score`.")],
    pool: Annotated[str, typer.Option(help="As of `rayal score`.")],
    strategies: Annotated[str, typer.Option(help="As of `rayal score`.")],
    out: Annotated[
        str, typer.Option(help="Folder for the scores, an absolute path or a URL.", callback=kept)
    ],
    model: Annotated[str | None, typer.Option(help="As of `rayal score`.")] = None,
    previous: Annotated[str | None, typer.Option(help="As of `rayal score`.")] = None,
    member: Annotated[list[str], typer.Option(help="As of `rayal score`.")] = [],  # noqa: B006
    retry_bad: RetryBad = False,
    set: Overrides = [],  # noqa: B006
    plugins: Packages = [],  # noqa: B006
    break_lock: BreakLock = False,
    address: Server = None,
    detach: Detach = False,
    env: Env = [],  # noqa: B006
    working_dir: WorkingDir = Path(),
    insecure: Insecure = False,
) -> None:
    """Score a pool on a cluster, or go on with it; paths must mean the same there."""
    from rayal.cli import scoring

    asked = {
        "checkpoint": checkpoint,
        "pool": pool,
        "strategies": scoring.listed(strategies),
        "previous": previous,
        "members": member,
        "model": None if model is None else scoring.written(model, "--model"),
    }
    x = scoring.settings(asked, set, allowed(plugins))
    options = _options(address, env, working_dir, insecure, break_lock, plugins)
    _told(rayal.submit(x, out, **options, retry_bad=retry_bad), detach)


def _options(
    address: str | None,
    env: list[str],
    working_dir: Path,
    insecure: bool,
    break_lock: bool,
    plugins: list[str],
) -> dict[str, Any]:
    """What all of them hand on as it is."""
    return {
        "address": address,
        "env": env,
        "working_dir": working_dir,
        "insecure": insecure,
        "break_lock": break_lock,
        "plugins": plugins,
    }


def _told(sent: "Submitted", detach: bool) -> None:
    """Says which job it is; follows it unless told otherwise."""
    job = sent.job
    note(f"{'submitted' if sent.new else 'submitted already'}  {job.id}")
    note(f"run folder  {sent.folder}")
    if not detach:
        return follow(job)
    note(f"it goes on by itself: {how(job)}")
    print(job.id)
