"""Processes of this machine that begin as copies of one that has imported what takes seconds.

That one, see `fork_server`, computes nothing and starts no thread, so that it can be copied. It
ends, and all its copies with it, when this process does, however that ends.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from rayal.engine.fork_server import NUMBER
from rayal.engine.messages import read_message, write_message

SAID = 2000  # bytes of what a process has said before it died
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
BEGIN = """
import contextlib, gc, importlib, logging, os, pickle, queue, signal, socket, struct, sys, time
control, modules, *sys.path[:] = sys.argv[1:]
from rayal.engine.fork_server import begin
begin(int(control), modules.split())
"""
"""What it runs: what this process imports, from the same places. The working folder is one of them
only where it is so here (-P): a file queue.py there is no module of Python's."""


class Forks:
    """The process that is copied: it imports, from now on, what copies need."""

    def __init__(self, modules: Sequence[str], threads: int = 1) -> None:
        """`threads` is how many threads of torch a copy has, unless it says otherwise."""
        self._modules, self._threads = modules, threads
        self._one, self._closed, self._copied = threading.Lock(), False, False
        self._begin()

    def _begin(self) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()
        self._orders, theirs = socket.socketpair()
        told = [str(theirs.fileno()), " ".join(self._modules), *map(str, sys.path)]
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", "-c", BEGIN, *told],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env={**os.environ, **dict.fromkeys(THREADS, str(self._threads))},
            )

    def start(self, work: bytes) -> "Fork":
        """A copy that does `work`, a pickled function without arguments."""
        fork = Fork(self)
        with self._one:
            self._copied = True
            if self._server.poll() is not None and not self._closed:  # it was killed
                self._forget()
                self._begin()
            fork.pid = self._ask(0, fork.files)
        fork.begin(work)
        return fork

    def code(self, pid: int | None) -> int:
        """How a copy ended that has closed its pipe, or never began: its exit code, or minus a
        signal."""
        with self._one:
            code = None if pid is None else self._ask(pid)
            return self._server.wait() if code is None else code

    def _ask(self, number: int, files: Sequence[int] = ()) -> int | None:
        """What the server answers; None where it ends."""
        with suppress(OSError):
            socket.send_fds(self._orders, [NUMBER.pack(number)], files)
            answer = self._orders.recv(NUMBER.size, socket.MSG_WAITALL)
            if len(answer) == NUMBER.size:
                return int(NUMBER.unpack(answer)[0])
        return None

    def close(self) -> None:
        """Ends all copies, in good order those that take the time, and what they are copies of."""
        self._closed = True
        with suppress(OSError):  # so that nobody waits for an answer
            self._orders.shutdown(socket.SHUT_RDWR)
        with self._one:
            if not self._copied:  # it may be importing still
                self._server.kill()
            self._server.wait()
            self._forget()

    def _forget(self) -> None:
        self._orders.close()
        self._said.close()

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def said(self) -> str:
        """The last line of the process that is copied."""
        return "" if self._closed else _last_line(self._said)


class Fork:
    """A copy, seen from the process that asked for it."""

    pid: int | None = None

    def __init__(self, forks: Forks) -> None:
        self._forks = forks
        self._said: IO[bytes] = tempfile.TemporaryFile()
        (its_in, ours_out), (ours_in, its_out) = os.pipe(), os.pipe()
        self.files = [its_in, its_out, os.dup(self._said.fileno())]
        """What are its stdin, stdout and stderr."""
        self._in, self._out = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")

    def begin(self, work: bytes) -> None:
        """From now on its files are its own."""
        for file in self.files:
            os.close(file)
        self.tell(work)

    def tell(self, message: Any) -> None:
        """Hands it a message, None for that there are no more."""
        with suppress(OSError):  # it has died, which `heard` and `death` tell
            write_message(self._in, (message,))

    def heard(self) -> Any:
        """Its next message; None where it has died."""
        return read_message(self._out)

    def death(self) -> tuple[int, str]:
        """How it ended, and the last line that it, or else what it is a copy of, has said."""
        code, said = self._forks.code(self.pid), _last_line(self._said) or self._forks.said()
        self._forget()
        return code, said

    def close(self) -> None:
        """Nothing more is to be done: waits for its end."""
        self.tell(None)
        while self.heard() is not None:
            pass
        self.death()

    def _forget(self) -> None:
        for file in (self._in, self._out, self._said):
            with suppress(OSError):  # what was not sent is of no use any more
                file.close()


def _last_line(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - SAID))
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
