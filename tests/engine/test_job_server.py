"""Commands on a real head with a token: submit, follow, attach, stop, logs, status."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from rayal.experiment import config
from tests.support.copied_command import CopiedCommand

pytest.importorskip("aiohttp_cors", reason="no dashboard: pip install 'ray[default]'")
pytestmark = pytest.mark.ray

TOKEN = "t0ken" * 8
PLUGINS = Path(__file__).parents[1] / "support" / "plugins"
STARTED = "Running entrypoint for job"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def head(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head of its own, started outside of this Python's environment."""
    port, dashboard, agent = free_ports(3)
    log = tmp_path_factory.mktemp("head") / "log"
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
        *("--port", str(port), "--dashboard-port", str(dashboard), "--num-cpus", "6"),
        *("--dashboard-agent-listen-port", str(agent)),
        *("--temp-dir", tempfile.mkdtemp(prefix="ray-", dir="/tmp")),  # sockets need a short path
    ]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        end = time.monotonic() + 120
        while not answers(dashboard):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(command[-1], ignore_errors=True)


def answers(port: int) -> bool:
    """Whether a web server is there."""
    try:
        urlopen(f"http://127.0.0.1:{port}/api/version", timeout=5).close()
    except HTTPError as error:  # as it is without a token
        error.close()
    except URLError:
        return False
    return True


@pytest.fixture
def project(tmp_path: Path, tiny: Callable[..., Any]) -> Path:
    """A folder with an experiment and with a package of the user's own."""
    folder = tmp_path / "project"
    shutil.copytree(PLUGINS / "faulty", folder / "faulty")
    compute = {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1}
    x = tiny(compute=compute, budget={"initial": 20, "per_cycle": 20, "total": 40})
    (folder / "tiny.yaml").write_text(config.dump(x))
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    return folder


@pytest.fixture
def user(project: Path, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user in the project, who has the token's file, and a variable that leads elsewhere."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(project.parent / "token"))
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", head)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)  # a cluster of this process may have set it


@pytest.fixture
def rayal(user: None) -> Callable[..., Ended]:
    """`rayal("status")`: the command to its end."""

    def command(*words: object) -> Ended:
        process = CopiedCommand(words, Path.cwd())
        out, err = process.communicate(timeout=240)
        return Ended(process.returncode, out, err)

    return command


@pytest.fixture
def start(user: None) -> Callable[..., subprocess.Popen[str]]:
    """`start("logs", job)`: the command in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def started(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "rayal", *map(str, words)], **pipes)

    return started


def read_until(process: subprocess.Popen[str], sign: str) -> str:
    """What a command prints until the line with this sign, or to its end."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sign in line:
            break
    return "".join(lines)


def test_a_run_to_its_end(rayal: Callable[..., Ended], project: Path, head: str) -> None:
    """The first thing that a user of a cluster does would fail, or show the token (C08)."""
    ended = rayal("submit", "run", "tiny.yaml", "--set", "strategy=entropy")
    rows = json.loads(rayal("status", "--address", head, "--json").out)
    folder = project / "runs/tiny/entropy-supervised-seed0"
    assert "submitted" in ended.err, ended.err
    (job,) = re.findall(r"^submitted  (rayal-tiny-entropy-\S+)$", ended.err, re.MULTILINE)

    assert ended.code == 0, ended.out + ended.err
    assert "cycle 1: 40 labels" in ended.out
    assert f"job {job} succeeded" in ended.err
    assert (folder / "cycle-001/evaluate/done.json").exists()
    assert [(job, "SUCCEEDED", str(folder))] == [
        (row["job"], row["state"], row["folder"]) for row in rows
    ]
    kept = [file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file()]
    assert not [text for text in (*ended, *kept, rows) if TOKEN in str(text)]


@pytest.mark.slow
def test_a_failing_job_gives_its_code(rayal: Callable[..., Ended]) -> None:
    """A script would take a run without data for a good one."""
    dataset = "dataset={name: parquet, root: /nowhere, pool: [a.parquet], test: [b.parquet]}"
    ended = rayal("submit", "run", "tiny.yaml", "--set", dataset)

    assert ended.code == 3, ended.err
    assert "rayal: /nowhere has no a.parquet" in ended.out
    assert ended.err.splitlines()[-1].endswith("failed with exit code 3")


@pytest.mark.slow
def test_a_second_submission_follows_the_first(
    start: Callable[..., subprocess.Popen[str]], rayal: Callable[..., Ended], tmp_path: Path
) -> None:
    """Two jobs would fight for one run folder (C06), or Ctrl-C would end more than a look."""
    (tmp_path / "gate").touch()
    words = ("submit", "run", "tiny.yaml", *waiting(tmp_path / "gate"))
    first = rayal(*words, "--detach")
    job = first.out.strip()
    second = start(*words)
    read_until(second, "cycle 0: 20 labels")
    second.send_signal(signal.SIGINT)
    out, err = second.communicate(timeout=60)
    stopped = rayal("stop", job)
    ended = rayal("logs", job, "--follow")

    assert (first.code, first.out) == (0, f"{job}\n")
    assert second.returncode == 130, err
    assert f"submitted already  {job}\n" in err
    assert f"the job goes on: `rayal logs {job} --follow" in err.splitlines()[-1]
    assert stopped[::2] == (0, f"{job}  STOPPED\n")
    assert (ended.code, ended.err) == (130, f"rayal: job {job} was stopped\n")
    assert rayal("logs", job).out == ended.out
    assert "interrupted; the same command continues the run" in ended.out
    (tmp_path / "gate").unlink()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAY_AUTH_TOKEN", "b" * 32),
        pytest.param("RAY_AUTH_MODE", "disabled", marks=pytest.mark.slow),
    ],
)
def test_who_has_no_token_is_told(
    rayal: Callable[..., Ended], head: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A user would read a traceback, or that Ray crashed (C04)."""
    monkeypatch.setenv(name, value)
    ended = rayal("status", "--address", head)

    assert ended.code == 5
    assert re.fullmatch(rf"rayal: {head} does not let us in .*RAY_AUTH_TOKEN_PATH\n", ended.err)


@pytest.mark.slow
def test_a_log_that_is_cut_twice(
    start: Callable[..., subprocess.Popen[str]], head: str, tmp_path: Path
) -> None:
    """A proxy between user and cluster would end the command, with the wrong code (C05)."""
    (tmp_path / "gate").touch()
    with closing(Proxy(int(head.rpartition(":")[2]))) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        words = ("submit", "run", "tiny.yaml", *waiting(tmp_path / "gate"), "--address", address)
        process = start(*words)
        out = read_until(process, STARTED)
        proxy.cut()
        out += read_until(process, "cycle 0: 20 labels")
        proxy.cut()
        (tmp_path / "gate").unlink()
        rest, err = process.communicate(timeout=100)

    assert process.returncode == 0, err
    assert proxy.cuts == 2
    for line in (STARTED, "cycle 0: 20 labels", "cycle 1: 40 labels", "curve   "):
        assert 1 == (out + rest).count(line), out + rest


@pytest.mark.slow
def test_a_job_uses_the_cluster(rayal: Callable[..., Ended], head: str, tmp_path: Path) -> None:
    """A job would start a cluster of its own, or its workers would lack the user's package."""
    words = ("--set", "compute={engine: ray}", "--set", "observers=[faulty.takes_its_time]")
    ended = rayal("submit", "run", "tiny.yaml", *words, "--plugins", "faulty", "--out", "out")

    assert ended.code == 0, ended.out + ended.err
    assert "cycle 1: 40 labels" in ended.out


def waiting(gate: Path) -> tuple[str, ...]:
    """Options of a run whose first pass waits while a file is there."""
    strategy = f"strategy={{name: faulty.waits, gate: {gate}}}"
    return ("--plugins", "faulty", "--set", strategy, "--out", f"{gate}-run")


class Proxy:
    """Hands on what it is sent to a port of this machine, until it cuts all connections."""

    def __init__(self, port: int) -> None:
        self.target, self.cuts = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections that there are."""
        self.cuts += 1
        for each in self.open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self.listener.accept()
                there = socket.create_connection(("127.0.0.1", self.target))
                self.open += [here, there]
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with source, suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
