"""The command: what it prints and where, how it ends, and that the same command continues a run."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

import pytest

from rayal import cli, parts
from rayal.api import run
from rayal.cli import work
from rayal.cli.options import kept, on_disk
from rayal.errors import StorageError, UsageError
from rayal.experiment import config
from rayal.report import curves, per_class
from rayal.runs.ledger import Ledger
from rayal.runs.record import Record
from rayal.runs.trackers.none import NoneTracker
from rayal.storage.folder import Folder
from tests.support.copied_command import CopiedCommand

PLUGINS = Path(__file__).parents[1] / "support" / "plugins"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = "rayal: interrupted; the same command continues the run"
SECRET = "s3cret-token"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def rayal(monkeypatch, capsys, tmp_path):
    """The command in this process, in an empty folder; what it does to the process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(PLUGINS)])
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    loggers = [logging.getLogger(name) for name in ("rayal", "py.warnings")]
    states = [(logger.level, logger.handlers, logger.propagate) for logger in loggers]

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["rayal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Ended(stop.value.code, *capsys.readouterr())

    yield command
    logging.captureWarnings(False)
    for logger, (level, attached, propagate) in zip(loggers, states, strict=True):
        logger.setLevel(level)
        logger.handlers, logger.propagate = attached, propagate
    for number, handler in handlers.items():
        signal.signal(number, handler)


def start(*arguments, **options):
    """The installed command, in a process of its own, beside the user's own package `faulty`."""
    command = [Path(sys.executable).with_name("rayal"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=PLUGINS, **{**pipes, **options})


def wait_for(file, process):
    """Until the process has written the file."""
    end = time.monotonic() + 100
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {file}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def experiment(tiny, tmp_path_factory):
    """An experiment file of three cycles; its compute is the local engine."""
    file = tmp_path_factory.mktemp("experiments") / "tiny.yaml"
    compute = {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1}
    file.write_text(config.dump(tiny(strategy="entropy", compute=compute)))
    return file


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    """The folder of a complete run, and how the command ended."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    environment = {**os.environ, "MLFLOW_TRACKING_TOKEN": SECRET}
    process = CopiedCommand(("run", experiment, "--out", folder), PLUGINS, environment)
    out, err = process.communicate(timeout=100)
    return folder, Ended(process.returncode, out, err)


@pytest.fixture
def waiting(experiment, tmp_path):
    """A command whose first scoring pass stands still while the file `gate` is there."""
    gate = tmp_path / "gate"
    gate.touch()
    strategy = f"strategy={{name: faulty.waits, gate: {gate}}}"
    return gate, ("run", experiment, "--plugins", "faulty", "--set", strategy, "--out")


def ending(folder):
    """What a run is judged by: its picks and its curve."""
    chosen = [path.read_bytes() for path in sorted(folder.glob("cycle-*/select/chosen.csv"))]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return chosen, [(row["labels"], row["accuracy"], row["nll"]) for row in rows]


# What it prints


def test_a_run_from_beginning_to_end(finished):
    """The first thing a user does would fail, or show escape codes in a log file."""
    folder, (code, out, err) = finished
    table = [line.split() for line in out.splitlines()]
    told = re.findall(r"^cycle (\d): (\d+) labels, accuracy (0\.\d{4})$", err, re.MULTILINE)

    assert code == 0, err
    assert table[0] == ["cycle", "labels", "accuracy", *"train s score s select s".split()]
    assert [tuple(row[:3]) for row in table[1:4]] == told
    assert [row[:2] for row in told] == [("0", "20"), ("1", "40"), ("2", "60")]
    assert out.splitlines()[-1] == f"curve   {folder}/curve.png"
    assert f"run folder  {folder}" in err.splitlines()
    assert "\x1b" not in out + err and "\r" not in out + err


def test_again_it_says_complete_and_starts_nothing(rayal, experiment, finished, monkeypatch):
    """A user who runs a finished experiment again would wait for a cluster (A14)."""
    folder, first = finished
    monkeypatch.setattr(run, "start_engine", lambda *_: pytest.fail("an engine was opened"))
    again = rayal("run", experiment, "--out", folder)

    assert (again.code, again.out) == (0, first.out)
    assert again.err == f"complete already  {folder}\n"


@pytest.mark.parametrize("kind", ["strategies", "schemes", "models", "datasets"])
def test_what_there_is(rayal, kind):
    """A part would be there without anyone finding it, or programs could not read the list."""
    rows = json.loads(rayal(kind, "--json").out)
    lines = rayal(kind).out.splitlines()

    assert [row["name"] for row in rows] == parts.names(kind)
    assert [line.split(maxsplit=1) for line in lines] == [
        [row["name"], row["what"]] for row in rows
    ]
    assert all(row["what"].endswith(".") for row in rows)


def test_a_plan(rayal, experiment, monkeypatch, tmp_path):
    """JSON would be mixed with news, or a user would wonder what takes so long."""
    monkeypatch.setenv("RAYAL_CACHE", str(tmp_path / "empty"))
    first = rayal("plan", experiment, "--json", "--set", "budget.total=50")
    table = rayal("plan", experiment, "--no-probe")
    plan = json.loads(first.out)

    assert (first.code, first.err) == (0, "preparing digits\n")
    assert [cycle["labels"] for cycle in plan["cycles"]] == [20, 40, 50]
    assert len(plan["seconds"]) == 3
    assert plan["warnings"] == ["budget: the last cycle buys the 10 that are left, not 20"]
    assert (table.code, table.err) == (0, "")
    assert table.out.split()[:3] == ["cycle", "labels", "steps"]


def test_status_of_a_complete_run(rayal, finished):
    """Programs that follow runs could not, or a folder of runs would have to be listed by hand."""
    folder, _ = finished
    (row,) = json.loads(rayal("status", folder, "--json").out)
    accuracy = ending(folder)[1][-1][1]

    assert row == {
        "run": str(folder),
        "state": "complete",
        "message": "",
        "silent_seconds": None,
        "cycle": 2,
        "stage": None,
        "labels": 60,
        "metric": "accuracy",
        "value": accuracy,
        "fine_tuned": None,
    }
    assert json.loads(rayal("status", folder.parent, "--json").out) == [row]
    assert f"{accuracy:.4f}" in rayal("status", folder).out.splitlines()[2]


def test_the_page_of_a_report(rayal, finished, tmp_path, monkeypatch):
    """Whoever asks for one file would find others in the folder where they are."""
    monkeypatch.chdir(tmp_path)
    ended = rayal("report", finished[0].parent, "--html", tmp_path / "pages" / "runs.html")

    assert 0 == ended.code and "page  " in ended.err
    assert "<!DOCTYPE html>" in (tmp_path / "pages" / "runs.html").read_text()
    assert ["pages"] == [path.name for path in tmp_path.iterdir()]


def test_the_figures_of_a_report(rayal, finished, tmp_path):
    """Whoever asks for them would find none where they were asked for."""
    ended = rayal("report", finished[0].parent, "--out", tmp_path / "figures")

    assert (ended.code, ended.err.split()[0]) == (0, "curves")
    assert (tmp_path / "figures" / "curves.png").stat().st_size > 10_000
    assert "no random baseline" in ended.out.split("\n")[0]


@pytest.mark.parametrize("format", ["csv", "markdown", "latex", "json"])
def test_a_report(rayal, finished, tmp_path, monkeypatch, format):
    """Tables for papers could not be made, or would be mixed with file names."""
    monkeypatch.setattr(curves, "draw", lambda *_: None)  # the same figures in every format
    monkeypatch.setattr(per_class, "files", lambda *_: {})
    ended = rayal("report", finished[0].parent, "--format", format, "--out", tmp_path / "figures")
    first = ended.out.split("\n")[0]

    assert (ended.code, ended.err.split()[0]) == (0, "curves")
    match format:
        case "csv":
            assert (
                first == "name,dataset,metric,strategy,scheme,settings,labels,n,mean,half_interval"
            )
        case "json":
            assert json.loads(ended.out)["groups"][0]["arms"][0]["strategy"] == "entropy"
        case _:
            assert "no random baseline" in first


def test_a_forecast(rayal, finished, tmp_path):
    """Whoever pays for labels could not ask what more of them bring; three cycles say nothing."""
    folder, _ = finished
    short = rayal("forecast", folder, "--target", "0.95", "--price", "0.08")
    asked = rayal("forecast", folder, "--json", "--out", tmp_path / "figures")
    percent = rayal("forecast", folder, "--target", "95")

    assert (short.code, short.err) == (0, "")
    assert "unknown  3 points are too few to say anything; 4 are needed" in short.out
    assert json.loads(asked.out)["arms"][0]["metric"] == "accuracy"
    assert asked.err.split()[0] == "forecast" and (tmp_path / "figures/forecast.svg").exists()
    assert (percent.code, "write 95 % as 0.95" in percent.err) == (2, True)


def test_a_replay(rayal, finished, tmp_path):
    """A user could not ask what another strategy would have bought, or would not learn what that
    takes."""
    folder, _ = finished
    random = ("replay", folder, "--cycle", 0, "--strategy", "random")
    kept = rayal(*random, "--html", tmp_path / "replay.html", "--out", tmp_path / "out")
    both = rayal(*random, "--strategy", "{name: power_margin, beta: 3}", "--json")
    asked = rayal(*random, "--strategy", "{name: power_margin, beta: 3}", "--forward", "--json")
    wrong = rayal("replay", folder, "--strategy", "margn", "--strategy", "{name: random, x: 1}")
    far = rayal("replay", folder, "--strategy", "random", "--cycle", 9)

    assert kept.code == 0 and "What would have been bought" in kept.out
    assert kept.err.splitlines() == [f"replay  {tmp_path}/out", f"page  {tmp_path}/replay.html"]
    assert (both.code, "add --forward" in both.err) == (2, True)
    assert [each["name"] for each in json.loads(both.out)["others"]] == ["random"]
    named = [each["strategy"] for each in json.loads(asked.out)["others"]]
    assert asked.code == 0 and named[1] == {"name": "power_margin", "beta": 3.0}
    assert wrong.code == 2 and "did you mean 'margin'" in wrong.err and "strategy.x" in wrong.err
    assert (far.code, "cycle 9 has chosen nothing" in far.err) == (2, True)


def test_a_run_that_a_rule_ends_says_so(rayal, experiment, tmp_path):
    """A user would look for the cycles that are missing."""
    ended = rayal("run", experiment, "--out", tmp_path / "run", "--set", "stop.target=0.01")
    again = rayal("run", experiment, "--out", tmp_path / "run", "--set", "stop.target=0.01")
    rule = "ended by stop.target: accuracy"

    assert ended.code == again.code == 0
    assert ended.out.splitlines()[-3].startswith(rule) and rule in again.out
    assert rule in rayal("status", tmp_path / "run").out


def test_a_report_for_a_paper(rayal, finished, tmp_path):
    """Figures of a journal's width would have to be made by hand; 95 is no accuracy."""
    runs, out = finished[0].parent, tmp_path / "figures"
    ended = rayal("report", runs, "--out", out, "--paper", "--target", "0.5")
    wrong = rayal("report", runs, "--out", out, "--target", "95")

    assert (ended.code, wrong.code) == (0, 2)
    assert "paper  4 files such as" in ended.err and "give a fraction such as 0.95" in wrong.err
    assert (out / "curves-column.pdf").read_bytes().startswith(b"%PDF")


def test_sync_sends_every_run_below(rayal, finished, monkeypatch):
    """What a server missed while it was away could not be sent."""
    sent = []
    monkeypatch.setattr(
        NoneTracker, "sync", lambda self, record, **_: sent.append(record.folder.url)
    )
    ended = rayal("sync", finished[0].parent)

    assert (ended.code, ended.err) == (0, "")
    assert sent == [str(finished[0])]
    assert ended.out == f"{finished[0]}  in step with no tracker\n"


def test_a_narrow_terminal_cuts_nothing(rayal, finished, monkeypatch):
    """Half of a path, or of a number, is none (I08)."""
    monkeypatch.setenv("COLUMNS", "20")
    ended = rayal("status", finished[0])

    assert f"in {finished[0].parent}" in ended.out and finished[0].name in ended.out
    assert len(ended.out.splitlines()) == 3
    assert rayal("--help").code == rayal("report", finished[0]).code == 0


def test_names_cannot_control_the_terminal(rayal, experiment, finished, tmp_path):
    """A folder's name could clear the screen, or fake other runs (K07); others must work (B11)."""
    folder = tmp_path / "ü %20 #1 [red]:smile:\n\x1b[2J"
    shutil.copytree(finished[0], folder)
    commands = [
        ("status", tmp_path),
        ("report", tmp_path),
        ("sync", tmp_path),
        ("run", experiment, "--out", folder),
        ("status", "\x1b[2J"),
        ("run", "\x1b[2J", "--debug"),
        ("--\x1b[2J",),
    ]
    printed = [rayal(*command) for command in commands]

    assert [ended.code for ended in printed] == [0, 0, 0, 0, 2, 2, 2]
    assert not any("\x1b" in ended.out + ended.err for ended in printed)
    assert "[red]:smile:\\n\\x1b[2J" in printed[0].out
    (row,) = json.loads(rayal("status", tmp_path, "--json").out)
    assert row["run"] == str(folder)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "x.yaml", "--out", "memory://x"],
        ["score", "--checkpoint", "c", "--pool", "p", "--strategies", "s", "--out", "memory://x"],
        ["select", "x", "--strategy", "random", "--budget", "1", "--out", "memory://x/y"],
    ],
)
def test_results_that_nobody_can_read_are_refused(rayal, command):
    """Hours of work would be gone when the command has told that it is done."""
    ended = rayal(*command)

    assert (2, 1) == (ended.code, ended.err.count("\n")), ended.err
    assert "is gone when this command ends; use a path, or the URL of a storage" in ended.err
    assert ["runs/x", "s3://bucket/runs"] == [kept("runs/x"), kept("s3://bucket/runs")]


def test_a_url_is_no_folder_of_this_machine(rayal, tmp_path, monkeypatch):
    """Figures would be in a folder called `s3:`."""
    monkeypatch.chdir(tmp_path)
    ended = rayal("report", ".", "--out", "s3://bucket/report")

    assert 2 == ended.code and "is a URL; give a path of this machine" in ended.err
    assert [] == list(tmp_path.iterdir())
    assert tmp_path / "figures" == on_disk(tmp_path / "figures")


def test_a_run_may_lie_at_a_url(rayal, experiment, finished, monkeypatch):
    """Runs on object storage could not be started from the command line."""
    monkeypatch.setattr("rayal.cli.options.VOLATILE", ())  # this process goes on
    ended = rayal("run", experiment, "--out", "memory://cli/one")
    (row,) = json.loads(rayal("status", "memory://cli", "--json").out)

    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == "curve   memory://cli/one/curve.png"
    assert (row["state"], row["value"]) == ("complete", ending(finished[0])[1][-1][1])


def test_warnings_are_one_line_each(rayal, experiment, tmp_path, monkeypatch):
    """What deserves a second look would be overlooked between frames of Python."""

    def noisy(*_):
        warnings.warn("two\nlines", stacklevel=1)
        raise UsageError("over")

    last = rayal("run", experiment, "--set", "budget.total=30", "--out", tmp_path / "run")
    monkeypatch.setattr("rayal.experiment.config.is_sweep", noisy)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        python = rayal("plan", experiment).err.splitlines()

    expected = "rayal: warning: budget: the last cycle buys the 10 that are left, not 20"
    assert last.err.splitlines().count(expected) == 1
    assert re.fullmatch(r"rayal: warning: .*test_cli.py:\d+: UserWarning: two lines.*", python[0])
    assert python[1:] == ["rayal: over"]


@pytest.mark.parametrize("verb", ["strategies", "status"])
def test_nobody_reads_any_more(finished, verb):
    """`| head -1` would end in a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    where = ["--json"] if verb == "strategies" else [finished[0]]
    process = start(verb, *where, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=100)

    assert (process.returncode, err) == (1, "")


def test_help_is_there_at_once():
    """A user would wait seconds for a list of options (N07)."""
    program = (
        "import atexit, sys; from rayal.cli import main; atexit.register(lambda: print([name for"
        " name in ('torch', 'ray', 'mlflow', 'numpy', 'pyarrow') if name in sys.modules]));"
        " main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "--help"], capture_output=True, text=True
    )

    assert done.returncode == 0
    assert "rayal run [OPTIONS]" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


ONE_BY_ONE = """
import json, sys
from rayal.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        print(end.code, "torch" in sys.modules, flush=True)
"""


def test_a_file_is_looked_at_first(tmp_path):
    """A mistyped name would be told after the seconds that torch takes to import."""
    (tmp_path / "broken.yaml").write_text("a: [")
    verbs = ("run", "plan", "sweep", "submit run", "config show")
    files = {"nofile": "cannot be read: No such file", "broken": "broken.yaml:"}
    asked = [[*v.split(), str(tmp_path / f"{file}.yaml")] for v in verbs for file in files]
    command = [sys.executable, "-c", ONE_BY_ONE, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True)
    told = done.stderr.splitlines()

    assert ["2 False"] * len(asked) == done.stdout.splitlines()
    assert len(asked) == len(told), told
    assert all(
        said in line for said, line in zip([*files.values()] * len(verbs), told, strict=True)
    )


# How it ends


PARQUET = "dataset={name: parquet, root: /nowhere, pool: [a.parquet], test: [b.parquet]}"


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, ["--bogus"], r"No such option: --bogus"),
        (2, ["bogus"], r"No such command 'bogus'"),
        (2, ["run"], r"Missing argument 'config'"),
        (2, ["run", "absent.yaml"], r"absent\.yaml: cannot be read: No such file"),
        (2, ["run", "."], r"\.: cannot be read: Is a directory"),
        (2, ["run", "X", "--set", "strategy=codd"], r"there is no 'codd'.* did you mean 'cod'\?"),
        (2, ["run", "X", "--set", "name=../../x"], r"name: should be a text that matches"),
        (2, ["plan", "X", "--set", "budget.total=601"], r"601 is more than the 600 images"),
        (2, ["run", "X", "--set", "compute.cpus_per_worker=9999"], r"takes 9999 CPUs, there are"),
        (2, ["run", "X", "--set", "compute.device=cuda"], r"compute\.device: cuda, but .* no GPU"),
        (2, ["run", "X", "--out", ""], r"'' is not a folder"),
        (2, ["status", "absent"], r"absent: no run folder is there or below"),
        (2, ["report", "X", "--format", "pdf"], r"'pdf' is not one of 'table', 'csv'"),
        (3, ["plan", "X", "--set", PARQUET], r"/nowhere has no a\.parquet; correct dataset\.root"),
        (4, ["run", "X", "--out", "/dev/null/run"], r"/dev/null/run: a file is where a folder"),
        (4, ["run", "X", "--out", "x" * 300], r"x{300}: the path is too long"),
        (4, ["report", "RUN", "--out", "/dev/null/x"], r"/dev/null/x: a file is where a folder"),
        (6, ["run", "X", "--out", "RUN", "--set", "scheme.lr=0.1"], r"scheme\.lr: 0\.05 -> 0\.1"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    rayal, experiment, finished, monkeypatch, code, arguments, message
):
    """Scripts could not tell what went wrong, or users would read frames of Python."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    places = {"X": experiment, "RUN": finished[0]}
    arguments = [places.get(argument, argument) for argument in arguments]
    short = rayal(*arguments)
    (line,) = short.err.splitlines()
    long = rayal(*arguments, "--debug")

    assert (short.code, long.code) == (code, code)
    assert line.startswith("rayal: ") and re.search(message, line), line
    assert (long.err.split("\n")[0], long.err.splitlines()[-1]) == (
        "Traceback (most recent call last):",
        line,
    )


def test_all_mistakes_of_an_experiment_at_once(rayal, experiment):
    """A user would correct a file one error at a time (I05, E08)."""
    wrong = {
        "budget.per_cycle=0": "budget.per_cycle: should be greater than 0, got 0",
        "scheme.lr=fast": 'scheme.lr: should be a number, got "fast"',
        "scheme.epoch=3": "scheme.epoch: there is no such key; did you mean 'epochs'",
        "stratgy=cod": "stratgy: there is no such key; did you mean 'strategy'",
    }
    ended = rayal("plan", experiment, *(word for item in wrong for word in ("--set", item)))
    heading, *lines = ended.err.splitlines()

    assert ended.code == 2
    assert heading == f"rayal: 4 problems in {experiment}"
    for item, message in wrong.items():
        assert any(re.match(f"  --set {item}: {message}", line) for line in lines), (item, lines)


def test_nothing_at_all_shows_help(rayal):
    """A newcomer would get an empty error."""
    ended = rayal()

    assert (ended.code, ended.err) == (2, "")
    assert "Usage: rayal" in ended.out


def test_a_dead_cluster_address_is_found_out_in_seconds(rayal, experiment, tmp_path):
    """Ray would try for minutes (C04)."""
    on_ray = ("run", experiment, "--set", "compute.engine=ray", "--address", "127.0.0.1:1")
    began = time.monotonic()
    ended = rayal(*on_ray, "--out", tmp_path / "run")

    assert ended.code == 5
    assert ended.err.splitlines()[-1].startswith("rayal: nothing answers at 127.0.0.1:1")
    assert time.monotonic() - began < 30


def test_a_locked_run_is_refused(rayal, experiment, tmp_path):
    """Two processes would write one run."""
    with Ledger(Folder(tmp_path / "run"), {}):
        ended = rayal("run", experiment, "--out", tmp_path / "run")

    assert ended.code == 6
    assert f"run is locked by pid {os.getpid()}" in ended.err


def test_files_of_past_cycles_are_removed(rayal, finished, tmp_path):
    """A script could not tell what became free, or would wait for a run that is at work; what is
    gone would look like damage."""
    run = shutil.copytree(finished[0], tmp_path / "run")
    with Ledger(Folder(run), Record(Folder(run)).identity()):
        locked = rayal("prune", run)
    dry = rayal("prune", run, "--weights", "none", "--dry-run", "--json")
    done = rayal("prune", run, "--weights", "none")
    score = rayal(
        "score", "--checkpoint", run, "--pool", run, "--strategies", "entropy", "--out", "s"
    )

    assert (6, "") == locked[:2] and f"run is locked by pid {os.getpid()}" in locked.err
    said = json.loads(dry.out)
    assert said["dry_run"] and 6 == said["files"] and [] == said["runs"][0]["weights"]
    assert 0 == done.code and "goes on" in done.out
    assert re.search(r"freed \d+ .B in 6 files", done.out)
    assert 4 == score.code and "has no weights any more: they were pruned" in score.err
    assert 0 == rayal("status", run).code == rayal("report", run, "--out", tmp_path / "r").code


def test_tracking_that_fails_is_an_error_of_sync(rayal, finished, monkeypatch):
    """A script would believe that everything was sent."""

    def fail(*_, **__):
        raise StorageError("MLflow at http://127.0.0.1:1 failed")

    monkeypatch.setattr(NoneTracker, "sync", fail)

    assert rayal("sync", finished[0])[::2] == (4, "rayal: MLflow at http://127.0.0.1:1 failed\n")


def test_waiting_for_labels_is_no_error(rayal, experiment, tmp_path):
    """A script would take a run that waits for people for a failed one."""
    answers = tmp_path / "answers"
    oracle = f"oracle={{name: faulty.asks_people, answers: {answers}}}"
    command = ("run", experiment, "--plugins", "faulty", "--set", oracle, "--out", tmp_path / "run")
    waits = rayal(*command)
    answers.touch()
    goes_on = rayal(*command)

    assert (waits.code, goes_on.code) == (0, 0)
    assert waits.out.startswith("rayal: waiting for 20 labels in ")
    assert len(goes_on.out.splitlines()) == 6


def test_people_answer_by_command(rayal, experiment, tmp_path):
    """A labeling lead would need Python; a script could not see what is missing."""
    run, table = tmp_path / "a run", tmp_path / "answers.csv"
    command = ("run", experiment, "--set", "oracle=people", "--out", run)
    waits, status = rayal(*command), rayal("status", run)
    folder = run / "cycle-000/initial-asked/request"
    table.write_text((folder / "to_label.csv").read_text().replace(",,,,", ",,3,ann,2.5"))
    looked = rayal("labels", "add", run, table, "--check")
    added, again = (rayal("labels", "add", run, table) for _ in range(2))
    shown, told = rayal("labels", "status", run), rayal("labels", "status", run, "--json")
    wrong = rayal("labels", "add", run, experiment)

    assert (0, 0, 0, 0, 0, 0, 2) == tuple(
        each.code for each in (waits, status, looked, added, again, shown, wrong)
    )
    assert [
        "rayal: waiting for 20 labels, 0 in",
        f"  request  {folder}: HOW.md there says how to answer it",
        f"  answers  rayal labels add '{run}' FILE",
        f"  state    rayal labels status '{run}'",
        "  go on    this command again",
    ] == waits.out.splitlines()
    assert "a run: waiting for 20 labels, 0 in" in status.out
    assert "answers.csv: would take 20 answers" == looked.out.splitlines()[0]
    assert "answers.csv: took 20 answers" == added.out.splitlines()[0]
    assert "answers.csv: took 0 answers, 20 were there already" == again.out.splitlines()[0]
    assert "next    enough is in: the run's own command goes on" == shown.out.splitlines()[-1]
    assert 20 == json.loads(told.out)["requests"][0]["labeled"]
    assert "has no column rayal_id, label" in wrong.err


def test_a_secret_is_nowhere(rayal, finished, tmp_path, monkeypatch):
    """A token of the environment would be in logs and run folders that others read (K11)."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    ended = rayal("status", tmp_path / "absent", "--debug")
    files = [path.read_bytes() for path in finished[0].rglob("*") if path.is_file()]

    assert "Traceback" in ended.err
    assert SECRET not in "".join(map(str, (*finished[1], *ended)))
    assert files and not any(SECRET.encode() in data for data in files)


# A user's own parts


def test_a_users_own_strategy_needs_permission(rayal, waiting, tmp_path):
    """A file from elsewhere could run any code (K02)."""
    gate, command = waiting
    gate.unlink()
    refused = rayal(*(word for word in command if word not in ("--plugins", "faulty")), "out")
    allowed = rayal(*command, tmp_path / "run")

    assert refused.code == 2
    assert "'faulty.waits' is code outside rayal; allow it on the command line" in refused.err
    assert allowed.code == 0, allowed.err
    assert rayal("status", tmp_path / "run").code == rayal("report", tmp_path / "run").code == 0
    assert rayal("sync", tmp_path / "run").code == 0  # it reads the tracker alone


def test_a_file_here_never_stands_in_for_a_package(rayal, experiment, tmp_path):
    """`--plugins` in a folder of downloads would run what calls itself scipy.py."""
    (tmp_path / "scipy.py").write_text("raise SystemExit('taken in')")
    (tmp_path / "mine.py").touch()

    assert rayal("plan", experiment, "--plugins", "mine", "--no-probe").code == 0
    assert str(tmp_path) in sys.path
    assert tmp_path not in Path(PathFinder.find_spec("scipy").origin).parents


# Runs that are cut short


@pytest.mark.parametrize("twice", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_interrupted_and_continued(rayal, waiting, tmp_path, twice):
    """Ctrl-C, Slurm and Kubernetes would leave a broken run, or one to start anew (A10)."""
    gate, command = waiting
    for number in SIGNALS if twice else [signal.SIGTERM]:
        process = start(*command, tmp_path / "run")
        wait_for(tmp_path / "gate.reached", process)
        process.send_signal(number)
        _, err = process.communicate(timeout=100)
        (row,) = json.loads(rayal("status", tmp_path / "run", "--json").out)
        (tmp_path / "gate.reached").unlink()

        assert (process.returncode, err.splitlines()[-1]) == (130, INTERRUPTED)
        assert "Traceback" not in err
        assert (row["state"], row["cycle"], row["stage"]) == ("interrupted", 0, "score")

    gate.unlink()
    assert rayal(*command, tmp_path / "run").code == 0
    assert rayal(*command, tmp_path / "whole").code == 0
    assert ending(tmp_path / "run") == ending(tmp_path / "whole")


def test_the_second_interrupt_ends_at_once(waiting, tmp_path):
    """A run that hangs while it stops could only be killed."""
    _, command = waiting
    words = (*command, tmp_path / "run", "--set", "strategy.ignores=true")
    process = CopiedCommand(words, PLUGINS)
    wait_for(tmp_path / "gate.reached", process)
    for _ in range(2):  # at once: taken for one
        process.send_signal(signal.SIGINT)
    wait_for(tmp_path / "gate.ignored", process)
    time.sleep(work.AGAIN_SECONDS)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=5)

    assert process.returncode == 130
    assert err.splitlines()[-1] == "rayal: stopped at once; the same command continues the run"


def test_a_run_that_goes_on_and_then_dies(rayal, waiting, tmp_path):
    """Nobody could tell a running run from a dead one; reports would fail on both (M04)."""
    gate, command = waiting
    run = tmp_path / "run"

    def states():
        (row,) = json.loads(rayal("status", tmp_path, "--json").out)
        summary = json.loads(rayal("report", tmp_path, "--format", "json").out)
        (arm,) = summary["groups"][0]["arms"]
        assert (row["cycle"], row["stage"], row["labels"]) == (0, "score", 20)
        assert (arm["partial"], [point["labels"] for point in arm["curve"]]) == ([0], [20])
        return row["state"], row["silent_seconds"]

    process = CopiedCommand((*command, run), PLUGINS)
    wait_for(tmp_path / "gate.reached", process)
    refused = rayal(*command, run)
    going_on = states()
    process.kill()
    process.communicate()
    killed, told = states(), rayal("status", run).out
    lock = json.loads((run / "lock.json").read_text())
    lock["began"] = "on another machine"
    lock["heartbeat"] = (datetime.now(UTC) - timedelta(seconds=100)).isoformat()
    Folder(run).write_sealed("lock.json", {k: lock[k] for k in lock if k != "sha256"})
    dead = states()
    shown = rayal("status", run).out
    gate.unlink()

    assert refused.code == 6
    assert f"locked by pid {process.pid}" in refused.err
    assert going_on == ("running", None)
    assert killed == ("crashed", pytest.approx(10, abs=20)), "at once, on the same machine"
    assert "\nrun: crashed, its process is gone; the same command continues it" in told
    assert dead == ("crashed", pytest.approx(100, abs=20))
    assert re.search(r"run +crashed +0 +score +20 +0\.\d{4}", shown)
    assert re.search(r"\nrun: crashed, silent for 1\d\d s; the same command continues it", shown)
    assert rayal(*command, run).code == 0
    assert "complete" in rayal("status", run).out


def test_a_run_that_has_just_begun_hides_no_other(rayal, finished, tmp_path):
    """Whoever looks in the first moment of a run would get an error instead of all the others."""
    shutil.copytree(finished[0], tmp_path / "complete")
    with Ledger(Folder(tmp_path / "begun"), {}):
        ended = [rayal("status", tmp_path), rayal("report", tmp_path)]

    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "complete" in ended[0].out


@pytest.mark.ray
@pytest.mark.slow
def test_interrupted_on_ray_and_continued(rayal, waiting, tmp_path):
    """Ray's own handler of SIGTERM would end the run with another code, and its lock not freed."""
    gate, command = waiting
    on_ray = ("--set", "compute.engine=ray")
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    process = start(*command, tmp_path / "run", *on_ray, env=environment)
    wait_for(tmp_path / "gate.reached", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=100)
    (row,) = json.loads(rayal("status", tmp_path / "run", "--json").out)
    gate.unlink()

    assert (process.returncode, err.splitlines()[-1]) == (130, INTERRUPTED)
    kinds = {line.split()[0] for line in err.splitlines()[:-1]}  # how many, time decides
    assert {"run", "cycle"} <= kinds <= {"preparing", "run", "cycle"}, err
    assert row["state"] == "interrupted"
    assert rayal(*command, tmp_path / "run").code == 0


def test_a_selection_goes_to_people_and_comes_back(rayal, finished, tmp_path):
    """Whoever trains elsewhere would write glue between the selection and the labeling tool."""
    scores = finished[0] / "cycle-000" / "score"
    words = ("--strategy", "entropy", "--budget", "2", "--out", "next", "--request", "csv")
    chosen = rayal("select", scores, *words)
    table = tmp_path / "next.request" / "to_label.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    place = rows[0].index("label")
    for row in rows[1:]:
        row[place] = "SKIP"
    (tmp_path / "answers.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    added = rayal("labels", "add", "next.request", "answers.csv")

    assert (0, 0) == (chosen.code, added.code), chosen.err + added.err
    assert "request      next.request/HOW.md" == chosen.out.splitlines()[-1]
    assert "answers.csv: took 2 answers" == added.out.splitlines()[0]
    assert 2 == (tmp_path / "next.request" / "left.csv").read_text().count("cannot be labeled")
    renamed = rayal("select", scores, *words, "--classes", "a,b")
    assert 2 == renamed.code and "2 classes given, the model has 10" in renamed.err
