"""Two processes at one run, one cache, and readers beside a writer (J)."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.report.status import status_rows
from rayal.report.tables import summarise
from rayal.runs.record import find_records
from rayal.storage import lock
from rayal.strategies.cod import Cod
from rayal.workflows.run import start_run
from tests.support.killed_run import Runs
from tests.support.whole_runs import ONE_THREAD, go, outcome


def test_a_second_process_is_refused(guessing: Experiment, process: Runs, tmp_path: Path) -> None:
    """Two drivers would write one run (J01)."""
    x = guessing.model_copy(update={"strategy": Cod()})
    with start_run(x, str(tmp_path)):
        second = process(x, tmp_path)

    assert 0 != second.returncode
    assert f"LockedError: {tmp_path} is locked by pid {os.getpid()} on " in second.stderr


TOGETHER = """
import json, logging, os, sys, traceback
from contextlib import nullcontext
from rayal.workflows.run import start_run
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
import sklearn.datasets, sklearn.model_selection, torch._dynamo  # so that all arrive at one moment

def run(out):
    with start_run(x, out) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)))

logging.basicConfig(level="INFO", format="%(message)s")
fields, *outs = sys.argv[1:]
x, gate = Experiment.model_validate(json.loads(fields)), os.pipe()
for out in outs:
    if os.fork() == 0:
        os.close(gate[1])
        os.read(gate[0], 1)
        try:
            run(out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
os.close(gate[1])  # for all at once
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in outs])
"""


def test_two_runs_share_one_cache(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A sweep's trials would prepare a dataset side by side, or read half of one (J04)."""
    x, cache = tiny(compute=ONE_THREAD), tmp_path / "cache"
    outs = [str(tmp_path / name / "run") for name in ("a", "b")]
    both = subprocess.run(
        [sys.executable, "-c", TOGETHER, json.dumps(x.model_dump(mode="json")), *outs],
        env=os.environ | {"RAYAL_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    stores = [path for path in (cache / "stores").iterdir() if not path.name.startswith(".lock")]

    assert "[0, 0]\n" == both.stdout, both.stderr
    assert 1 == both.stderr.count("preparing digits")
    assert [x.dataset.open().url.rsplit("/")[-1]] == [store.name for store in stores]
    assert outcome(tmp_path / "a/run") == outcome(tmp_path / "b/run")


def test_readers_during_a_run(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rayal status` and `report` would fail, or show half a cycle, while a run writes (J05)."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    x, ended, seen = tiny(observers=["entropy"], compute=ONE_THREAD), threading.Event(), []

    def write() -> None:
        try:
            go(x, tmp_path / "runs/one")
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        with suppress(UsageError):  # there is no run yet
            (row,) = status_rows([str(tmp_path)])
            (table,) = summarise(find_records([str(tmp_path)])).groups
            shown = len(table.arms[0].runs[0].points)
            seen.append((row["labels"], 20 * shown))
    writer.join()
    labels = [label for label, _ in seen]

    assert {"complete"} == {row["state"] for row in status_rows([str(tmp_path)])}
    assert sorted(seen) == seen and set(labels) <= {0, 20, 40, 60}
    assert len(seen) > 10
    assert all(before <= after for before, after in seen)
