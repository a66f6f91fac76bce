"""The command of a sweep, killed: a driver that joins a cluster, in a process of its own.

As in killed_run.py, but the process sends itself SIGKILL as soon as the file POINT is there. The
cluster is the one that $RAY_ADDRESS names.
"""

import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from rayal.experiment.sweep.settings import SweptExperiment
from rayal.plugins import Plugins
from rayal.workflows.sweep import sweeping as sweep
from rayal.workflows.sweep.sweeping import start_sweep
from tests.support.doubles import Silent


def kill_at(point: str) -> None:
    while not Path(point).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def joined():
    from rayal.engine import start

    start.connect(None)
    yield 2


def main(out: str, fields: str, point: str) -> None:
    sweep.page_of = lambda *runs: b"no page in tests"
    plugins = Plugins(["faulty"])
    x = SweptExperiment.model_validate(json.loads(fields), context=plugins)
    threading.Thread(target=kill_at, args=(point,), daemon=True).start()
    with start_sweep(x, out, plugins=plugins) as opened:
        opened.run(joined, Silent())
