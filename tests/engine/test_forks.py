"""Copies of a process that has imported: begun, told, ended, whatever dies."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cloudpickle
import pytest

from rayal.engine.forks import Forks
from rayal.engine.messages import read_message, write_message
from rayal.engine.processes import PRELOADED

LIGHT = ("json",)


def answer() -> None:
    """What a copy does: it says what it is told, and who it is a copy of."""
    out = os.fdopen(os.dup(1), "wb")
    while (told := read_message(sys.stdin.buffer)) != (None,):
        write_message(out, (told, os.getppid(), "json" in sys.modules))


def stubborn() -> None:
    """It does not end when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write_message(os.fdopen(os.dup(1), "wb"), "deaf")
    time.sleep(300)


ANSWER = cloudpickle.dumps(answer)


@pytest.fixture
def forks() -> Iterator[Forks]:
    with Forks(LIGHT) as made:
        yield made


def test_copies_of_one(forks: Forks) -> None:
    """Each would import torch by itself, which is what they are copies for."""
    pair = [forks.start(ANSWER) for _ in range(2)]
    for number, fork in enumerate(pair):
        fork.tell(number)
    said = [fork.heard() for fork in pair]
    for fork in pair:
        fork.close()

    assert [((0,), True), ((1,), True)] == [(told, imported) for told, _, imported in said]
    assert 1 == len({parent for _, parent, _ in said})
    assert os.getpid() not in {parent for _, parent, _ in said}


def test_how_a_copy_ended(forks: Forks) -> None:
    """A lack of memory could not be told from a mistake in a strategy."""
    done, left, raised = (
        forks.start(cloudpickle.dumps(work))
        for work in (os.getpid, partial(os._exit, 7), partial(int, "many"))
    )
    assert (0, "") == done.death()
    assert (7, "") == left.death()
    code, said = raised.death()
    assert 1 == code and said.endswith("invalid literal for int() with base 10: 'many'")


def test_a_killed_copy(forks: Forks) -> None:
    """The kernel ends what takes too much memory."""
    fork = forks.start(ANSWER)
    assert fork.pid is not None
    os.kill(fork.pid, signal.SIGKILL)

    assert fork.heard() is None
    assert -signal.SIGKILL == fork.death()[0]


def test_the_copied_process_dies(forks: Forks) -> None:
    """The next copies would wait for ever for one that is gone, and running ones count as lost."""
    before = forks.start(ANSWER)
    forks._server.kill()
    forks._server.wait()
    after = forks.start(ANSWER)
    for fork in (before, after):
        fork.tell("still there")

    assert [("still there",)] * 2 == [fork.heard()[0] for fork in (before, after)]
    before.close()
    after.close()


def test_a_process_that_cannot_import(tmp_path: Path) -> None:
    """A package that is broken would be told as a lack of memory."""
    with Forks(("no_such_module",)) as forks:
        fork = forks.start(ANSWER)
        assert fork.heard() is None
        assert (1, "ModuleNotFoundError: No module named 'no_such_module'") == fork.death()


def test_the_end_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C would wait for a copy that is deaf to it."""
    with Forks(LIGHT) as forks:
        quick = forks.start(ANSWER)
        begun = time.monotonic()
    assert 5 > time.monotonic() - begun and quick.heard() is None
    quick.death()


def threads() -> None:
    """Says which threads the process has that this is a copy of."""
    tasks = Path(f"/proc/{os.getppid()}/task").iterdir()
    write_message(sys.stdout.buffer, [(each / "comm").read_text().strip() for each in tasks])


def test_what_trials_are_copies_of() -> None:
    """A copy of a process amid work of other threads can wait for ever for what they held. That of
    jemalloc, which pyarrow brings along, is prepared for it."""
    with Forks(PRELOADED) as forks:
        fork = forks.start(cloudpickle.dumps(threads))
        said = fork.heard()
        fork.close()

    assert 1 == len([name for name in said if name != "jemalloc_bg_thd"])


@pytest.mark.slow
def test_a_copy_that_does_not_end_is_killed() -> None:
    """It would outlive the command."""
    with Forks(LIGHT) as forks:
        fork = forks.start(cloudpickle.dumps(stubborn))
        assert "deaf" == fork.heard()
    assert fork.heard() is None
    fork.death()


def test_what_is_not_needed_ends_at_once() -> None:
    """A sweep that is complete would wait until all that trials need is imported."""
    begun = time.monotonic()
    with Forks(("time", "torch", "mlflow")):
        pass

    assert 1 > time.monotonic() - begun


def test_it_ends_with_whoever_started_it() -> None:
    """A killed command would leave processes behind."""
    forks = Forks(LIGHT)
    fork = forks.start(ANSWER)
    forks._orders.close()  # as the kernel does it for a process that is killed

    assert fork.heard() is None
    assert 0 == forks._server.wait(20)
    fork.death()
    forks.close()
