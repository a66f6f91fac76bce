"""Experiments, sweeps and scorings as jobs of a Ray cluster."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rayal.api.elsewhere import packages
from rayal.api.given import check_experiment
from rayal.api.jobs import Job
from rayal.engine import jobs, upload
from rayal.engine import submit as submitted
from rayal.engine.submit import Work, job_id
from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.parts import names
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import Folder, Json
from rayal.workflows import checks, run
from rayal.workflows.score.settings import PoolScoring
from rayal.workflows.sweep import sweeping as sweep
from rayal.workflows.sweep.folder import arms_to_check

EXPERIMENT = "rayal-experiment.yaml"
"""What is run, in the job's folder: in full, with absolute paths."""

logger = logging.getLogger(__name__)


class Submitted(NamedTuple):
    """A job that does what was asked."""

    job: Job
    folder: str
    """Where the results go."""
    new: bool
    """Whether it was begun now; a job for the same work that has not ended is the one."""


def submit(
    x: Experiment | PoolScoring,
    out: str | os.PathLike[str] | None = None,
    *,
    address: str | None = None,
    env: Mapping[str, str] | Sequence[str] = (),
    working_dir: str | os.PathLike[str] = ".",
    insecure: bool = False,
    break_lock: bool = False,
    retry_bad: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Submitted:
    """Begins a run, a sweep (of `rayal.load_sweep`) or a `rayal.PoolScoring` on a cluster.

    Everything is checked here first. What travels is the experiment, the code in `working_dir`
    without data, and this very rayal; the cluster has Ray, torch and so on, and sees the data and
    `out`. `address` is that of its job server, `http://HEAD:8265`, else $RAY_API_SERVER_ADDRESS,
    else this machine's; `insecure` speaks to another machine without a token. `env` are variables
    of the job, no secrets. The same call again finds the job, or begins one that goes on where the
    last one ended. `retry_bad` is for scorings, see `rayal.score`.

    >>> x = rayal.load("configs/digits/cod.yaml")
    >>> sent = rayal.submit(x, "/shared/runs/mine", address="http://head:8265")  # doctest: +SKIP
    >>> sent.job.follow()                                                        # doctest: +SKIP

    Raises UsageError for what cannot work there, before anything is sent, and ClusterError where no
    job server answers.
    """
    if not isinstance(x, PoolScoring):
        check_experiment(x, "submit")
    order, place = list(plugins), None if out is None else os.fspath(out)
    named = packages(x, plugins if isinstance(plugins, str) else order)
    url = jobs.server(address)
    same = _same([*order, *sorted(named.difference(order))], break_lock)
    work, fields = _work(x, place, url, same, named, retry_bad)
    words = [f"{name}={value}" for name, value in env.items()] if isinstance(env, Mapping) else env
    variables = {"PYTHONUNBUFFERED": "1", **upload.environment(words)}
    upload.refuse_secrets({**fields, "--out": work.folder})
    project = upload.files(Path(working_dir))
    upload.refuse_hiding(Path(working_dir), project)
    client = jobs.connect(url, insecure=insecure)
    if jobs.is_local(url):  # a head of this machine, started by this Python or another
        variables = {"PATH": f"{Path(sys.executable).parent}:${{PATH}}", **variables}
    else:
        _warn_of_paths(fields)
    job, new = submitted.submit(client, work, project, variables)
    return Submitted(Job(job, client=client), work.folder, new)


def _work(
    x: Experiment | PoolScoring,
    out: str | None,
    url: str,
    same: list[str],
    plugins: Plugins,
    retry_bad: bool,
) -> tuple[Work, Json]:
    """What the job does, and the values that are sent."""
    if isinstance(x, PoolScoring):
        if out is None:
            raise UsageError("out: a scoring has no folder of its own; give one")
        if x.checkpoint is None:
            raise UsageError(
                "checkpoint: a job has no module of this process; give the path or URL of a run or"
                " of weights"
            )
        return _scoring(x, _place(out, url), same, retry_bad)
    if isinstance(x, SweptExperiment):
        _check(*(trial.experiment for trial in trials.of_arms(x, arms_to_check(x), plugins)))
        place = _place(sweep.default_folder(x) if out is None else out, url)
        return _of_file("sweep", x, (x.name, "sweep"), place, same), x.model_dump(mode="json")
    _check(x)
    words = (x.name, x.strategy.part_name(), x.scheme.part_name(), f"seed{x.seed}")
    place = _place(run.default_folder(x) if out is None else out, url)
    return _of_file("run", x, words, place, same), x.model_dump(mode="json")


def _check(*experiments: Experiment) -> None:
    """Raises UsageError for what no job could do, whatever data and machines it finds."""
    for x in experiments:
        if problems := list(checks.without_asking(x)):
            raise UsageError.of(problems, where=f"experiment {x.name!r}")


def _of_file(verb: str, x: Experiment, words: Sequence[str], folder: str, same: list[str]) -> Work:
    """The work of a command that reads one file, which is sent as it was understood here."""
    identity = x.model_dump(mode="json", exclude={"compute", "tracking", "keep"})
    return Work(
        id=job_id(words, [identity, folder]),
        name=x.name,
        folder=folder,
        command=[verb, EXPERIMENT, "--out", folder, *same],
        texts={EXPERIMENT: config.dump(x)},
    )


def _scoring(x: PoolScoring, folder: str, same: list[str], retry_bad: bool) -> tuple[Work, Json]:
    """The work of a command that is told by its options."""
    fields = {**_given(x), "pool": _pool(x.pool)}
    work = Work(
        id=job_id(("score", *x.columns()), [fields, folder]),
        name="score",
        folder=folder,
        command=[
            *("score", *_options(fields), "--out", folder),
            *(["--retry-bad"] if retry_bad else []),
            *same,
        ],
    )
    return work, fields


def _warn_of_paths(fields: Mapping[str, Any]) -> None:
    """Data stays where it is, so the cluster has to see it there."""
    local = [
        f"{key} {value}"
        for key, value in upload.scalars(fields)
        if isinstance(value, str) and value.startswith(("/", "sqlite:////"))
    ]
    if local:
        logger.warning("the cluster must see the same paths: %s", ", ".join(local))


def _place(out: str, url: str) -> str:
    """Where results go, the same for whoever reads it: a job's own folder ends with the job."""
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
    if "://" in where or where in names("datasets"):
        return where
    return os.path.abspath(os.path.expanduser(where))


def _given(x: PoolScoring) -> Json:
    """The fields of settings that are not at their default."""
    defaults = {name: field.default for name, field in type(x).model_fields.items()}
    fields: Json = x.model_dump(mode="json")
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
