"""`jobs/score_pool.py`: the command of `rayal score`, as a program of its own."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "jobs" / "score_pool.py"


def test_it_is_the_command() -> None:
    """A job on a cluster would know other options, or lose the exit code."""
    shown = subprocess.run([sys.executable, PROGRAM, "--help"], capture_output=True, text=True)
    refused = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True)

    assert 0 == shown.returncode and "--checkpoint" in shown.stdout
    assert 2 == refused.returncode and "--checkpoint" in refused.stderr
