"""`rayal submit`: everything is checked and completed here, and the job means the same there."""

import logging
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rayal import cli
from rayal.cli.jobs import LogLines
from rayal.engine import jobs, submit
from rayal.engine.submit import Work
from rayal.experiment import config
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import Plugins
from rayal.workflows import score
from rayal.workflows.run import start_run

HEAD, LOCAL = "https://head.invalid", "http://127.0.0.1:8265"
EXPERIMENT = """
name: mine
dataset: {name: image_folder, root: photos, classes: [cat, dog], size: 8}
model: {name: small_cnn, width: 8}
strategy: entropy
budget: {initial: 10, per_cycle: 10, total: 20}
tracking: {name: mlflow, uri: "sqlite:///mlflow.db"}
"""


class Sent(NamedTuple):
    """What the server got."""

    work: Work
    names: set[str]
    env: Mapping[str, str]


class Ended(NamedTuple):
    """How a command ended, and what it sent."""

    code: int
    out: str
    err: str
    sent: Sent | None


class Nobody:
    """A client of no server."""

    def get_address(self) -> str:
        return LOCAL


@pytest.fixture
def rayal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Ended]]:
    """The command in this process, in an empty folder, where a server takes what it is sent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "TOKEN_FILE", tmp_path / "no-token")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in (jobs.ADDRESS, "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loggers = [logging.getLogger(name) for name in ("rayal", "py.warnings")]
    states = [(each.level, each.handlers, each.propagate) for each in loggers]
    sent: list[Sent] = []

    def take(_: Any, work: Work, project: Mapping[str, Path], env: Mapping[str, str]) -> Any:
        sent.append(Sent(work, set(project), env))
        return work.id, True

    monkeypatch.setattr(jobs, "Client", lambda *_, **__: Nobody())
    monkeypatch.setattr(submit, "submit", take)
    monkeypatch.setattr(submit, "follow", lambda client, job, write: write("the log\n"))

    def command(*words: object) -> Ended:
        sent.clear()
        monkeypatch.setattr(sys, "argv", ["rayal", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Ended(end.value.code, *capsys.readouterr(), sent[0] if sent else None)

    yield command
    logging.captureWarnings(False)
    for each, (level, attached, propagate) in zip(loggers, states, strict=True):
        each.setLevel(level)
        each.handlers, each.propagate = attached, propagate
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """An experiment on a photo folder beside it, in a folder of its own, based on another file."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "base.yaml").write_text(EXPERIMENT)
    (folder / "mine.yaml").write_text("extends: base.yaml\nseed: 3\n")
    return folder / "mine.yaml"


def test_an_experiment_means_the_same_there(
    rayal: Callable[..., Ended], mine: Path, tmp_path: Path
) -> None:
    """The job would read another file, another folder or other values than the user wrote."""
    ended = rayal("submit", "run", mine, "--set", "scheme.epochs=7", "--env", "A=1")
    folder = tmp_path / "runs/mine/entropy-supervised-seed3"
    assert ended.sent is not None, ended.err
    verb, name, *options = ended.sent.work.command
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / name).write_text(ended.sent.work.texts[name])
    here, there = (
        config.load(mine, ["scheme.epochs=7"]),
        config.load(tmp_path / "there" / name),
    )

    assert (ended.code, ended.out) == (0, "the log\n")
    assert f"run folder  {folder}\n" in ended.err
    assert (verb, options) == ("run", ["--out", str(folder)])
    assert here == there
    assert there.dataset.root == str(mine.parent / "photos")
    assert {"experiments/mine.yaml", "experiments/base.yaml"} == ended.sent.names
    assert ended.sent.env["A"] == "1"


def test_one_run_is_one_job(rayal: Callable[..., Ended], mine: Path) -> None:
    """The same run would get a second job, or another run the first one's (C06)."""
    one = ("submit", "run", mine, "--detach")
    same = [one, (*one, "--set", "compute.scorers=2"), (*one, "--set", "tracking=none")]
    others = [(*one, "--set", "seed=4"), (*one, "--set", "scheme.lr=0.2"), (*one, "--out", "x")]
    ids = [[rayal(*words).out for words in group] for group in (same, others)]

    assert len({*ids[0]}) == 1
    assert len({ids[0][0], *ids[1]}) == 4


def test_options_of_a_job(
    rayal: Callable[..., Ended], mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin would not be allowed there, or a lock not be broken."""
    monkeypatch.setattr(Plugins, "check", lambda self: None)
    sent = rayal("submit", "run", mine, "--plugins", "a b", "--plugins", "c", "--break-lock").sent

    assert sent is not None
    assert sent.work.command[4:] == ["--plugins", "a b", "--plugins", "c", "--break-lock"]


def test_detached_it_prints_the_id(rayal: Callable[..., Ended], mine: Path) -> None:
    """A script could not tell which job it started."""
    ended = rayal("submit", "run", mine, "--detach")

    assert ended.sent is not None
    assert (ended.code, ended.out) == (0, f"{ended.sent.work.id}\n")
    assert f"`rayal logs {ended.sent.work.id} --follow --address {LOCAL}`" in ended.err


@pytest.mark.parametrize("out", ["runs/x", "./x"])
def test_elsewhere_a_relative_folder_is_refused(
    rayal: Callable[..., Ended], mine: Path, out: str
) -> None:
    """The results would be gone with the job's folder."""
    for words in ([], ["--out", out]):
        ended = rayal("submit", "run", mine, "--address", HEAD, *words)

        assert (ended.code, ended.sent) == (2, None)
        assert "give an absolute path" in ended.err
    for place in ("/shared/runs/x", "s3://bucket/runs/x"):
        ended = rayal("submit", "run", mine, "--address", HEAD, "--out", place, "--detach")
        assert ended.code == 0 and ended.sent is not None, ended.err
        assert place == ended.sent.work.folder


@pytest.mark.parametrize("out", ["/shared/runs", "s3://bucket/runs"])
def test_elsewhere_paths_are_named(
    rayal: Callable[..., Ended], mine: Path, tmp_path: Path, out: str
) -> None:
    """A user would learn from the failed job that the cluster does not see the data."""
    ended = rayal("submit", "run", mine, "--address", HEAD, "--out", out)

    assert ended.sent is not None and ended.sent.work.folder == out
    assert f"dataset.root {mine.parent}/photos" in ended.err
    assert f"tracking.uri sqlite:///{tmp_path}/mlflow.db" in ended.err
    assert "PATH" not in ended.sent.env


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "scheme.lr=fast", "--set", "seed=-1"], "2 problems"),
        (["--env", "MLFLOW_TRACKING_TOKEN=s3cret"], "MLFLOW_TRACKING_TOKEN: looks like a secret"),
        (["--out", "s3://key:s3cret@bucket/runs"], "--out: holds a secret"),
        (["--working-dir", "absent"], "absent: there is no such folder"),
        (["--address", "ray://head:10001"], "is not the address of a job server"),
        (["--address", "http://me:s3cret@head:8265"], "holds a user or a secret"),
        (["--address", "http://head.invalid:8265", "--out", "/x"], "there is no token to send"),
    ],
)
def test_what_is_refused_before_anything_is_sent(
    rayal: Callable[..., Ended], mine: Path, words: list[str], said: str
) -> None:
    """A user would wait for an upload, and a secret would be on its way (C07, C08, K03)."""
    ended = rayal("submit", "run", mine, *words)

    assert (ended.code, ended.sent) == (2, None)
    assert said in ended.err


def test_a_sweep_means_the_same_there(
    rayal: Callable[..., Ended], mine: Path, tmp_path: Path
) -> None:
    """A sweep would run other trials on a cluster, or a mistake in an arm would be found there."""
    space = "sweep={space: {strategy: {grid_search: [random, cod]}}, seeds: [0, 1]}"
    ended = rayal("submit", "sweep", mine, "--set", space)
    assert ended.sent is not None, ended.err
    verb, name, *options = ended.sent.work.command
    (tmp_path / name).write_text(ended.sent.work.texts[name])
    wrong = rayal("submit", "sweep", mine, "--set", space.replace("cod", "codd"))

    assert (verb, options) == ("sweep", ["--out", f"{tmp_path}/sweeps/mine"])
    here = config.load_as(SweptExperiment, mine, [space])
    assert here == config.load_as(SweptExperiment, tmp_path / name)
    assert (wrong.code, wrong.sent) == (2, None)
    assert "codd" in wrong.err


def test_a_scoring_means_the_same_there(
    rayal: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options that the job is given would lead to other scores."""
    seen: list[Any] = []

    def stop(settings: Any, out: str, **_: Any) -> Any:
        seen.append((settings, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(score, "start_scoring", stop)
    words = [
        *("--checkpoint", "w.pt", "--pool", "my photos", "--out", "scores"),
        *("--strategies", "[entropy, {name: cod, first_cycle: random}]", "--previous", "v.pt"),
        *("--model", "{name: torchvision, arch: resnet18}", "--member", "a.pt", "--member", "b.pt"),
        *("--set", "id=null", "--set", "decoding.size=224", "--set", "classes=[ä, 'b c', 'null']"),
        *("--set", "compute.engine=local", "--set", "seed=5", "--set", "max_bad=0"),
    ]
    sent = rayal("submit", "score", *words).sent
    assert sent is not None
    rayal("score", *words)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    rayal(*shlex.split(shlex.join(sent.work.command)))
    (here, out), (there, elsewhere) = seen

    assert here.model_copy(update={"pool": str(tmp_path / "my photos")}) == there
    assert out == elsewhere == str(tmp_path / "scores")
    assert sent.work.id.startswith("rayal-score-entropy-cod-")


def test_a_dataset_is_no_folder(rayal: Callable[..., Ended]) -> None:
    """The name of a dataset would become a path that is not there."""
    words = ("--checkpoint", "w.pt", "--strategies", "entropy", "--out", "o", "--pool")
    pools = ["digits", "s3://bucket/a", "./digits"]
    sent = [rayal("submit", "score", *words, pool).sent for pool in pools]

    assert ["digits", "s3://bucket/a", str(Path("digits").absolute())] == [
        each.work.command[4] for each in sent if each
    ]


def test_nothing_in_a_log_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A job's output could clear the screen, or fake lines of rayal (K07)."""
    lines = LogLines()
    for chunk in ("a\tb\n\x1b[36mcol", "our\x1b[0m\x1b[2J\nä\r", "bar 1%\rbar 2%\r\nno end\x07"):
        lines.write(chunk)
    lines.close()

    assert "a       b\ncolour\\x1b[2J\nä\nbar 1%\nbar 2%\nno end\\x07\n" == capsys.readouterr().out


def test_status_without_anything(
    rayal: Callable[..., Ended],
    tiny: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user would see an empty table and believe that there is nothing."""
    ended = rayal("status")

    assert (ended.code, ended.out) == (2, "")
    assert "give run folders, or --address" in ended.err
    with start_run(tiny(), str(tmp_path / "runs/x")):
        pass
    assert 0 == rayal("status", "runs").code
    monkeypatch.setattr(submit, "listed", lambda *_: [])
    assert 0 == rayal("status", "--address", LOCAL).code
