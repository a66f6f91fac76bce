"""The `rayal` command as a process, which ends without unloading what it has imported."""

import subprocess
import sys

import pytest

LATE = """
import atexit, sys, threading, time
from rayal.cli import command
atexit.register(lambda: print("at exit"))  # written to a pipe: kept until it is flushed
{more}
sys.argv = ["rayal", *sys.argv[1:]]
command()
"""
THREAD = "threading.Thread(target=lambda: (time.sleep(0.5), print('thread'))).start()"
UNLOADED = """
class Loud:
    def __del__(self):
        print("unloaded")
loud = Loud()
"""


def ended(more: str, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", LATE.format(more=more), *words], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("word", "code"), [("--version", 0), ("--versoin", 2)])
def test_what_waits_for_the_end_is_done(word: str, code: int) -> None:
    """Ray and the trackers clean up there."""
    returned, out, err = ended(UNLOADED, word)

    assert code == returned
    assert "at exit" == out.splitlines()[-1]
    assert err.startswith("rayal: ") if code else err == ""


def test_a_thread_at_work_is_waited_for() -> None:
    """What it writes would be cut off."""
    returned, out, _ = ended(THREAD, "--version")

    assert 0 == returned
    assert ["thread", "at exit"] == out.splitlines()[-2:]


def test_nobody_reads_any_more() -> None:
    """As behind `| head -1`: no traceback, and no code of success."""
    with subprocess.Popen(
        [sys.executable, "-m", "rayal", "strategies"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert 1 == process.returncode
    assert b"" == said
