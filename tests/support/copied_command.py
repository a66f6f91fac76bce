"""The `rayal` command, or a script, in a copy of a process that has imported what it takes.

What it prints, how it ends and what signals do to it are its own. What the copy cannot show, tests
of the installed script do: that it begins at all, and what it imports.
"""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support import forks
from tests.support.killed_run import draw_nothing

STREAMS = ("stdout", "stderr")
SCRIPT = str(Path(sys.executable).with_name("rayal"))


def rayal_command() -> None:
    from rayal.cli import command

    sys.argv[:0] = [SCRIPT]
    command()


def script() -> None:
    """The file that is the first word, which finds its neighbours."""
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


def module() -> None:
    """The module that is the first word, as `python -m` runs it."""
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def undrawn_script() -> None:
    """Its runs draw no curve and write no page."""
    draw_nothing()
    script()


class CopiedCommand:
    """`rayal` with these words in a folder, to be used as a `subprocess.Popen` with pipes is.

    `work` is what to do with the words instead: a function that finds them in `sys.argv`.
    """

    def __init__(
        self,
        words: Sequence[object],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        work: Callable[[], None] = rayal_command,
    ) -> None:
        self._said = Path(tempfile.mkdtemp())
        self._process = forks.started(
            _copy,
            work,
            dict(os.environ if environment is None else environment),
            folder,
            [str(word) for word in words],
            self._said,
        )
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Negative the signal that killed it; None while it works."""
        code: int | None = self._process.exitcode
        return code

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to stdout and stderr, when it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("the copy", timeout or 0)
        out, err = ((self._said / name).read_text() for name in STREAMS)
        shutil.rmtree(self._said)
        return out, err


def _copy(
    work: Callable[[], None],
    environment: dict[str, str],
    folder: Path,
    words: list[str],
    said: Path,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate(STREAMS, start=1):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = words
    work()
