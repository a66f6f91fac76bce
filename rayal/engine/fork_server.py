"""The process whose copies run trials; see `forks`, which starts it.

It has one thread and computes nothing: a copy of a process amid work of other threads could wait
for ever for what these held.
"""

import gc
import os
import pickle
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from rayal.engine.messages import read_message

NUMBER = struct.Struct("<q")
"""What is asked, and answered: with files, for a copy, whose number is the answer; else with the
number of one, for the code with which it ended."""
FILES = 3
"""A copy's stdin, stdout and stderr."""
PATIENCE = 10.0
"""Seconds in which a copy ends in good order."""


def begin(control: int, modules: Sequence[str]) -> None:
    """What the process does, to its end, which is that of the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that one
    for module in modules:
        import_module(module)
    gc.freeze()  # a collection in a copy would write to every page of what it shares
    copies: set[int] = set()
    with socket.socket(fileno=control) as orders:
        while (order := _read(orders)) is not None:
            pid, files = order
            if files:
                copies.add(answer := _copy(orders, files))
            else:
                answer = _code(pid)
                copies.discard(pid)
            with suppress(OSError):  # nobody waits for it any more, which the next read tells
                orders.sendall(NUMBER.pack(answer))
    _end(copies)
    os._exit(0)  # to unload what it has imported takes a second, for which somebody waits


def _read(orders: socket.socket) -> tuple[int, list[int]] | None:
    """Of which copy the end is asked for, or the files of a new one; None where nobody asks."""
    data, files, *_ = socket.recv_fds(orders, NUMBER.size, FILES)
    return (NUMBER.unpack(data)[0], files) if len(data) == NUMBER.size else None


def _copy(orders: socket.socket, files: Sequence[int]) -> int:
    """The process that begins as a copy of this one."""
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        return pid
    code = 1
    try:
        orders.close()
        for own, file in enumerate(files):
            os.dup2(file, own)
            os.close(file)
        pickle.loads(read_message(sys.stdin.buffer)[0])()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _code(pid: int) -> int:
    """How a copy ends, which is waited for; one of a server before this was killed with it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return -signal.SIGKILL


def _end(copies: set[int]) -> None:
    """Ends them: in good order those that take the time."""
    for pid in copies:
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while copies and time.monotonic() < until:
        copies = {pid for pid in copies if not os.waitpid(pid, os.WNOHANG)[0]}
        time.sleep(0.01)
    for pid in copies:
        os.kill(pid, signal.SIGKILL)
