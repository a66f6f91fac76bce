"""Commands that a cluster runs as a job: `submit run`, `submit sweep` and `submit score`."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

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
from rayal.errors import UsageError

EXPERIMENT = "rayal-experiment.yaml"
"""What is run, in the job's folder: in full, with absolute paths."""

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
    from rayal.engine import jobs
    from rayal.experiment import config as configs
    from rayal.workflows import run

    x, url = configs.load(config, set, allowed(plugins)), jobs.server(address)
    words = (x.name, x.strategy.part_name(), x.scheme.part_name(), f"seed{x.seed}")
    folder = _place(run.default_folder(x) if out is None else out, url)
    work = _of_file("run", x, words, folder, _same(plugins, break_lock))
    _send(work, x.model_dump(mode="json"), url, insecure, env, working_dir, detach)


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
    from rayal.engine import jobs
    from rayal.experiment import config as configs
    from rayal.experiment.sweep import trials
    from rayal.experiment.sweep.settings import SweptExperiment
    from rayal.workflows import sweep
    from rayal.workflows.sweep.folder import arms_to_check

    named = allowed(plugins)
    x, url = configs.load_as(SweptExperiment, config, set, named), jobs.server(address)
    trials.of_arms(x, arms_to_check(x), named)
    folder = _place(sweep.default_folder(x) if out is None else out, url)
    work = _of_file("sweep", x, (x.name, "sweep"), folder, _same(plugins, break_lock))
    _send(work, x.model_dump(mode="json"), url, insecure, env, working_dir, detach)


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
    from rayal.engine import jobs
    from rayal.engine.submit import Work, job_id

    options = {
        "checkpoint": checkpoint,
        "pool": pool,
        "strategies": scoring.listed(strategies),
        "previous": previous,
        "members": member,
        "model": None if model is None else scoring.written(model, "--model"),
    }
    x, url = scoring.settings(options, set, allowed(plugins)), jobs.server(address)
    folder = _place(out, url)
    fields = {**_given(x), "pool": _pool(x.pool)}
    words = ("score", *x.columns())
    work = Work(
        id=job_id(words, [fields, folder]),
        name="score",
        folder=folder,
        command=[
            *("score", *_options(fields), "--out", folder),
            *(["--retry-bad"] if retry_bad else []),
            *_same(plugins, break_lock),
        ],
    )
    _send(work, fields, url, insecure, env, working_dir, detach)


def _of_file(verb: str, x: Any, words: Sequence[str], folder: str, same: list[str]) -> Any:
    """The work of a command that reads one file, which is sent as it was understood here."""
    from rayal.engine.submit import Work, job_id
    from rayal.experiment import config as configs

    identity = x.model_dump(mode="json", exclude={"compute", "tracking"})
    return Work(
        id=job_id(words, [identity, folder]),
        name=x.name,
        folder=folder,
        command=[verb, EXPERIMENT, "--out", folder, *same],
        texts={EXPERIMENT: configs.dump(x)},
    )


def _send(
    work: Any,
    fields: Mapping[str, Any],
    url: str,
    insecure: bool,
    env: Sequence[str],
    working_dir: Path,
    detach: bool,
) -> None:
    """Checks what is left to check, then submits; follows the job unless told otherwise."""
    from rayal.engine import jobs, upload
    from rayal.engine import submit as submitted

    variables = {"PYTHONUNBUFFERED": "1", **upload.environment(env)}
    upload.refuse_secrets({**fields, "--out": work.folder})
    project = upload.files(working_dir)
    upload.refuse_hiding(working_dir, project)
    client = jobs.connect(url, insecure=insecure)
    if jobs.is_local(url):  # a head of this machine, started by this Python or another
        variables = {"PATH": f"{Path(sys.executable).parent}:${{PATH}}", **variables}
    else:
        _warn_of_paths(fields)
    job, new = submitted.submit(client, work, project, variables)
    note(f"{'submitted' if new else 'submitted already'}  {job}")
    note(f"run folder  {work.folder}")
    if not detach:
        return follow(client, job)
    note(f"it goes on by itself: {how(job, url)}")
    print(job)


def _warn_of_paths(fields: Mapping[str, Any]) -> None:
    """Data stays where it is, so the cluster has to see it there."""
    from rayal.engine import upload

    local = [
        f"{key} {value}"
        for key, value in upload.scalars(fields)
        if isinstance(value, str) and value.startswith(("/", "sqlite:////"))
    ]
    if local:
        note(f"rayal: warning: the cluster must see the same paths: {', '.join(local)}")


def _place(out: str, url: str) -> str:
    """Where results go, the same for whoever reads it: a job's own folder ends with the job."""
    from rayal.engine import jobs
    from rayal.storage.folder import Folder

    path = out.removeprefix("file://")
    if "://" in path:
        return path
    if not (os.path.isabs(path) or jobs.is_local(url)):
        raise UsageError(
            f"--out {path} would be in a folder that ends with the job; give an absolute path that"
            " all machines of the cluster share, or a URL such as s3://bucket/runs"
        )
    return Folder(path).url


def _pool(where: str) -> str:
    """A pool's path absolute; the name of a dataset and a URL as they are."""
    from rayal.parts import names

    if "://" in where or where in names("datasets"):
        return where
    return os.path.abspath(os.path.expanduser(where))


def _given(x: Any) -> dict[str, Any]:
    """The fields of settings that are not at their default."""
    defaults = {name: field.default for name, field in type(x).model_fields.items()}
    fields: dict[str, Any] = x.model_dump(mode="json")
    return {name: value for name, value in fields.items() if getattr(x, name) != defaults[name]}


def _options(fields: Mapping[str, Any]) -> list[str]:
    """The options of `rayal score` that lead to the same settings."""
    words: list[str] = []
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if name in ("checkpoint", "pool", "strategies"):
            words += [f"--{name}", text]
        else:
            words += ["--set", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    return words


def _same(plugins: Sequence[str], break_lock: bool) -> list[str]:
    """The options that the job takes over as they are."""
    named = [word for package in plugins for word in ("--plugins", package)]
    return [*named, "--break-lock"] if break_lock else named
