"""rayal/engine/start.py: the way out of what keeps Ray from starting, and who can reach it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import ray_constants
from ray._private.node import Node

from rayal.engine import own_cluster, start
from rayal.errors import ClusterError

Fails = Callable[[Exception], None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Ray then raises this at its start."""
    monkeypatch.delenv(start.ADDRESS, raising=False)
    monkeypatch.setattr(start, "guard_token", lambda: None)

    def fails(error: Exception) -> None:
        def init(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(ray, "init", init)

    return fails


def test_each_cause_has_its_own_way_out(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long TMPDIR or a home that cannot be written would end in advice about tokens."""
    monkeypatch.setenv("HOME", "/no/home")
    for error, said in (
        (OSError("AF_UNIX path length cannot exceed 107 bytes: /x"), "set RAY_TMPDIR to a short"),
        (PermissionError(13, "denied", "/no/home/.ray"), "HOME is /no/home; set HOME"),
        (OSError(28, "No space left on device"), "see that there is room, and that RAY_TMPDIR"),
        (RuntimeError("bad token"), "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"),
        (Exception("The current node timed out during startup."), "stop other programs, or work"),
    ):
        fails(error)
        with pytest.raises(ClusterError, match=said) as raised:
            start.connect(None)
        assert ("RAY_AUTH_TOKEN_PATH" in str(raised.value)) == ("bad token" in str(error))


def test_what_is_no_trouble_of_ray_is_not_told_as_such(fails: Fails) -> None:
    """A mistake of rayal's own would be blamed on the machine."""
    fails(TypeError("init() got an unexpected keyword"))
    with pytest.raises(TypeError, match="unexpected keyword"):
        start.connect(None)


def test_an_address_from_the_environment_is_named(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who never gave --address would be told to leave it out."""
    monkeypatch.setenv(start.ADDRESS, "http://127.0.0.1:8265")
    with pytest.raises(ClusterError, match=r"8265 \(\$RAY_ADDRESS\) is the address of a job serv"):
        start.connect(None)
    monkeypatch.setenv(start.ADDRESS, "127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"127.0.0.1:1 \(\$RAY_ADDRESS\).*`--address local`"):
        start.connect(None)
    fails(RuntimeError("started here"))  # the way out
    with pytest.raises(ClusterError, match="Ray at 'local' .* started here"):
        start.connect("local")


def test_who_handles_signals_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler's SIGTERM would end a run by Ray's rules, not by those of its own process."""
    of_ray, own, before = lambda *_: None, lambda *_: None, signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(start, "guard_token", lambda: None)
    monkeypatch.setattr(ray, "init", lambda *_, **__: signal.signal(signal.SIGTERM, of_ray))
    try:
        for there, left in ((own, own), (signal.SIG_DFL, of_ray)):
            signal.signal(signal.SIGTERM, there)
            start.start(2)
            assert left is signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_cluster_of_its_own_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the network could reach it; and a cluster that is joined later would be 127.0.0.1."""
    seen = []

    def init(*_: Any, **__: Any) -> None:
        seen.append((ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(own_cluster.LOOPBACK)))

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(start, "guard_token", lambda: None)
    monkeypatch.delenv(own_cluster.LOOPBACK, raising=False)
    start.start(2)
    start.join("auto")

    assert [(False, "0"), (True, None)] == seen


def test_a_cluster_of_its_own_costs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of Ray's processes takes a core second of a short run. A cluster that is joined, or
    started by hand, stays as Ray and its owner have it."""
    seen, helper = list[bool](), Node.start_monitor

    def init(*_: Any, **__: Any) -> None:
        seen.append(Node.start_monitor is helper)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(start, "guard_token", lambda: None)
    start.start(2)
    start.join("auto")

    assert [False, True] == seen and Node.start_monitor is helper


def test_others_cannot_read_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray leaves it readable by all: whoever has it runs anything on the cluster."""
    monkeypatch.setenv("HOME", str(tmp_path))
    start.guard_token()  # nothing is there
    token = tmp_path / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("x")
    token.chmod(0o644)
    start.guard_token()

    assert 0o600 == token.stat().st_mode & 0o777


CONNECT = """
from rayal.engine import own_cluster, start
from rayal.errors import ClusterError
try:
    print("cores", start.connect("local", cores=1))
except ClusterError as error:
    print(error)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said", "step"),
    [
        ({"TMPDIR": "long"}, "as TMPDIR is .*; set RAY_TMPDIR to a short path", "RAY_TMPDIR"),
        ({"RAY_TMPDIR": "long"}, "as RAY_TMPDIR is .*; set RAY_TMPDIR to a sho", "RAY_TMPDIR"),
        ({"HOME": "/proc/nobody"}, "set HOME to a folder that can be written", "HOME"),
        ({"RAY_TMPDIR": "/proc/x"}, r"RAY_TMPDIR \(else /tmp\) can be written", "RAY_TMPDIR"),
    ],
)
def test_ray_starts_where_the_message_says(
    tmp_path: Path, wrong: dict[str, str], said: str, step: str
) -> None:
    """The advice for one cause would be of no use, or lead to the next error."""
    long = tmp_path / ("x" * 100)
    long.mkdir()

    def told(**changed: str) -> str:
        places = {name: str(long) if at == "long" else at for name, at in changed.items()}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CONNECT],
            env=os.environ | places,
            capture_output=True,
            text=True,
            timeout=100,
        )
        return done.stdout

    assert re.search(said, told(**wrong))
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        assert "cores 1\n" == told(**wrong | {step: short})


STAYS = """
from rayal.engine import own_cluster, start
start.connect("local", cores=1)
print(flush=True)
input()
start.disconnect()
"""


@pytest.mark.ray
@pytest.mark.slow
def test_ray_listens_on_this_machine_only() -> None:
    """The constant of Ray's could come to mean something else."""
    with subprocess.Popen(  # here it would end, or be, the cluster of all other tests
        [sys.executable, "-W", "ignore", "-c", STAYS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        listening = {line.split()[1] for line in _listening(started.pid)}
        started.communicate("\n", timeout=60)

    assert 0 == started.returncode
    assert listening and all("0100007F:" in address for address in listening), listening


def _listening(pid: int) -> list[str]:
    """Lines of /proc/net/tcp* about sockets of a process and of those that it has started."""
    own = str(pid)
    inodes = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if own in (folder / "stat").read_text().rpartition(")")[2].split()[1:4]:
                links = (os.readlink(each) for each in (folder / "fd").iterdir())
                inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
        except OSError:  # it has ended
            continue
    lines = [
        line
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return [line for line in lines if line.split()[3] == "0A" and line.split()[9] in inodes]
