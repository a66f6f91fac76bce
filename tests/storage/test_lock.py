"""rayal.storage.lock: one writer, whatever dies, pauses or starts at the same time."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rayal.errors import LockedError, StorageError
from rayal.storage import lock
from rayal.storage.folder import Folder
from rayal.storage.lock import Lock, died, seconds_since, utc_now

HOLD = """
import sys, time
from rayal.errors import LockedError
from rayal.storage.folder import Folder
from rayal.storage.lock import Lock
held = Lock(Folder(sys.argv[1]))
started = float(sys.argv[2])
while time.time() < started:
    time.sleep(0.001)
try:
    held.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    held.check()
    print("still held", flush=True)
except LockedError as error:
    print("refused", time.time() - started, error, flush=True)
"""


def another_process(folder: Folder, start: float = 0.0) -> subprocess.Popen[str]:
    """A process that takes the lock at a moment, checks it after a line of input, and ends."""
    command = [sys.executable, "-c", HOLD, folder.url, str(start)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def disk(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "run")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A folder on an object store, with nobody else there to wait for."""
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    folder = Folder(f"memory://{uuid.uuid4().hex}")
    yield folder
    folder.delete()


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest) -> Folder:
    folder: Folder = request.getfixturevalue(request.param)
    return folder


def left_behind(folder: Folder, *, host: str, pid: int, age: float) -> None:
    """What a process leaves that did not release: its last heartbeat is `age` seconds old."""
    moment = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    holder = {"id": "x", "attempt": 4, "host": host, "pid": pid, "since": moment}
    folder.write_sealed("lock.json", {**holder, "heartbeat": moment, "released": None})


def a_dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_second_is_refused_and_told_who_is_first(folder: Folder) -> None:
    """Two drivers would write one run (fault J01)."""
    first = Lock(folder)
    first.acquire()
    started = time.monotonic()
    with pytest.raises(LockedError) as caught:
        Lock(folder).acquire()
    waited = time.monotonic() - started
    first.check()
    first.release()

    since = folder.read_sealed("lock.json")["since"]
    assert (
        f"{folder.url} is locked by pid {os.getpid()} on {os.uname().nodename} since {since}"
        in (str(caught.value))
    )
    assert "; that is this process itself: close the learner that has it open, or wait" in (
        str(caught.value)
    )
    assert waited < 2


def test_attempts_are_counted(folder: Folder) -> None:
    """Which of two attempts came later would be a matter of clocks (fault N01)."""
    attempts = []
    for _ in range(3):
        held = Lock(folder)
        held.acquire()
        attempts.append(held.attempt)
        held.release()

    assert [1, 2, 3] == attempts


def test_simultaneous_processes(disk: Folder) -> None:
    """Both would think that they are alone (fault J01)."""
    processes = [another_process(disk, start=time.time() + 1.0) for _ in range(2)]
    answers = sorted(process.stdout.readline() for process in processes)
    for process in processes:
        process.communicate("\n")

    assert "held\n" == answers[0]
    refused = re.match(r"refused (\S+) (\S+) is locked by pid (\d+) on \S+ since 20", answers[1])
    assert refused is not None
    assert float(refused[1]) < 15  # seconds: it does not wait for the other to end
    assert int(refused[3]) in [process.pid for process in processes]


def test_simultaneous_on_an_object_store(bucket: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked, all who see a free folder at once would think it theirs."""
    monkeypatch.setattr(lock, "SETTLE", 0.2)
    barrier = threading.Barrier(4)
    monkeypatch.setattr(Lock, "_has_ended", lambda *_: barrier.wait() >= 0)
    holders, refused = [], []

    def acquire() -> None:
        held = Lock(bucket)
        try:
            held.acquire()
            holders.append(held)
        except LockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=acquire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for held in holders:
        held.release()

    assert (1, 3) == (len(holders), len(refused))


def test_a_killed_process_frees_a_local_folder(disk: Folder) -> None:
    """After a kill the same command would be refused until somebody removes a file."""
    killed = another_process(disk)
    assert "held\n" == killed.stdout.readline()
    killed.kill()
    killed.communicate()
    held = Lock(disk)
    held.acquire()
    held.release()

    assert 2 == held.attempt


def test_a_paused_process_stops_when_it_wakes(disk: Folder) -> None:
    """A driver that slept while another took over would commit over its work (fault J02)."""
    paused = another_process(disk)
    assert "held\n" == paused.stdout.readline()
    os.kill(paused.pid, signal.SIGSTOP)
    with pytest.raises(LockedError, match=f"pid {paused.pid} "):
        Lock(disk).acquire()
    held = Lock(disk)
    held.acquire(break_lock=True)
    os.kill(paused.pid, signal.SIGCONT)
    answer, _ = paused.communicate("\n")
    held.check()
    held.release()

    assert answer.startswith("refused ")
    assert f"was taken over by pid {os.getpid()} on" in answer


def test_whoever_lost_the_lock_does_not_release_it(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """A woken driver that ends would let a third one in beside the second."""
    first, second = Lock(folder), Lock(folder)
    first.acquire()
    second.acquire(break_lock=True)
    first.release()
    second.check()
    with pytest.raises(LockedError):
        Lock(folder).acquire()
    second.release()

    assert "was taken over by" in caplog.text
    assert folder.read_sealed("lock.json")["released"] is not None


@pytest.mark.parametrize("age", [5, 3600])
def test_another_host_is_never_replaced_by_itself(folder: Folder, age: float) -> None:
    """A driver on a machine that cannot be seen from here would get company (fault J03)."""
    left_behind(folder, host="elsewhere", pid=7, age=age)
    with pytest.raises(LockedError, match="locked by pid 7 on elsewhere since 20") as caught:
        Lock(folder).acquire()

    assert (age == 3600) == ("--break-lock" in str(caught.value))

    held = Lock(folder)
    held.acquire(break_lock=True)
    held.release()

    assert 5 == held.attempt


@pytest.fixture
def shared_disk(disk: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder on a network disk without flock."""

    def lacks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", lacks)
    monkeypatch.setattr(lock, "SETTLE", 0.05)
    return disk


def test_a_disk_without_flock(shared_disk: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on an old NFS would not start, or two machines would write it."""
    first = Lock(shared_disk)
    first.acquire()
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(LockedError, match=f"locked by pid {os.getpid()} on {os.uname().nodename}"):
        Lock(shared_disk).acquire()
    second = Lock(shared_disk)
    second.acquire(break_lock=True)
    with pytest.raises(LockedError, match="was taken over by .* on elsewhere"):
        first.check()
    first.release()
    second.check()
    second.release()
    third = Lock(shared_disk)
    third.acquire()
    third.release()

    assert 3 == third.attempt


def test_a_disk_with_flock_of_one_machine_only(
    disk: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock that other machines do not see would let two of them write one run (J03)."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    first = Lock(disk)
    first.acquire()
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(LockedError, match=f"on {os.uname().nodename} since"):
        Lock(disk).acquire()
    first.release()


def test_a_broken_flock_is_told(disk: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing disk would be taken for one without flock."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(StorageError, match="/lock: Input/output error"):
        Lock(disk).acquire()


def test_a_process_that_is_gone(bucket: Folder) -> None:
    """After a kill in a bucket nobody would say how to go on: at once, or a minute later."""
    left_behind(bucket, host=os.uname().nodename, pid=a_dead_pid(), age=5)
    with pytest.raises(LockedError, match="no such process is here.*--break-lock .*, or wait 60 s"):
        Lock(bucket).acquire()
    for age, break_lock in ((5, True), (66, False)):
        left_behind(bucket, host=os.uname().nodename, pid=a_dead_pid(), age=age)
        held = Lock(bucket)
        held.acquire(break_lock)
        held.release()


def test_a_killed_process_of_this_machine_is_seen_at_once(disk: Folder) -> None:
    """`rayal status` called it running for a minute or two, and a bucket kept it locked."""
    process = another_process(disk)
    assert process.stdout is not None and "held\n" == process.stdout.readline()
    going_on = died(disk)
    process.kill()
    process.communicate()
    killed = died(disk)
    held = Lock(disk)
    held.acquire()
    taken = died(disk)
    held.release()

    assert (False, True, False, False) == (going_on, killed, taken, died(disk))


def test_a_bucket_is_free_where_death_is_certain(bucket: Folder, disk: Folder) -> None:
    process = another_process(disk)
    assert process.stdout is not None and "held\n" == process.stdout.readline()
    process.kill()
    process.communicate()
    holder = disk.read_sealed("lock.json")
    bucket.write_sealed("lock.json", {k: v for k, v in holder.items() if k != "sha256"})
    held = Lock(bucket)
    held.acquire()
    held.release()

    assert 2 == held.attempt


@pytest.mark.parametrize(
    ("pid", "age", "free"),
    [("dead", 5, False), ("dead", 3600, True), ("dead", -3600, True), ("alive", 3600, False)],
)
def test_this_host_on_an_object_store(bucket: Folder, pid: str, age: float, free: bool) -> None:
    """A killed run would need help, or a living one would be replaced; also after the clock was
    set back an hour (fault N01)."""
    number = a_dead_pid() if pid == "dead" else os.getppid()
    left_behind(bucket, host=os.uname().nodename, pid=number, age=age)
    held = Lock(bucket)
    if free:
        held.acquire()
        held.release()
    else:
        with pytest.raises(LockedError):
            held.acquire()


def test_heartbeat(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long training would look dead to other machines."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    held = Lock(folder)
    held.acquire()
    beats = set()
    for _ in range(100):
        beats.add(folder.read_sealed("lock.json")["heartbeat"])
        time.sleep(0.005)
    held.release()

    assert len(beats) > 3
    assert not any(t.name == "rayal-heartbeat" for t in threading.enumerate())


def test_heartbeat_survives_a_storage_failure(
    disk: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One failed write would silence the heart for the rest of the run."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    held = Lock(disk)
    held.acquire()
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "broken disk")))
        time.sleep(0.2)
    before = disk.read_sealed("lock.json")["heartbeat"]
    time.sleep(0.2)
    after = disk.read_sealed("lock.json")["heartbeat"]
    held.release()

    assert "broken disk" in caplog.text
    assert before < after


def test_damaged_lock_file_is_named(folder: Folder) -> None:
    """Nobody would know what to do."""
    folder.write("lock.json", b'{"attempt": 1')
    with pytest.raises(
        StorageError, match=r"lock\.json is damaged .* or delete it if no process writes there$"
    ):
        Lock(folder).acquire()
    folder.remove("lock.json")
    held = Lock(folder)
    held.acquire()
    held.release()


def test_no_permission_to_lock() -> None:
    """A read-only run folder would end in a traceback (B11)."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o555)
        root = os.geteuid() == 0
        os.seteuid(65534) if root else None
        try:
            with pytest.raises(StorageError, match="/lock: no permission; choose another folder"):
                Lock(Folder(place)).acquire()
        finally:
            os.seteuid(0) if root else None


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_time_is_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that moves between machines would go back in time (fault N01)."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    moment = utc_now()
    monkeypatch.undo()
    time.tzset()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", moment)
    assert 0 <= seconds_since(moment) < 5


def test_a_storage_that_does_not_answer_ends(
    disk: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that is over would hang at its end, with nothing said."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    monkeypatch.setattr(lock, "STALE", 0.05)
    answers, held = threading.Event(), Lock(disk)
    held.acquire()
    monkeypatch.setattr(held, "_write", lambda released=None: answers.wait())
    time.sleep(0.05)
    held.release()
    answers.set()

    assert f"{disk.url} does not answer; its lock is not released" in caplog.text
