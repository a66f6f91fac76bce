"""Two processes at one run, one cache, and readers beside a writer (J)."""

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rayal.engine.local import LocalEngine
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.report.status import status_rows
from rayal.report.tables import summarise
from rayal.runs.find_records import find_records
from rayal.storage import lock
from rayal.strategies.cod import Cod
from rayal.workflows.run import start_run
from tests.support.forks import FORKS, started
from tests.support.killed_run import Runs, whole
from tests.support.whole_runs import ONE_THREAD, go, outcome


def test_a_second_process_is_refused(guessing: Experiment, process: Runs, tmp_path: Path) -> None:
    """Two drivers would write one run (J01)."""
    x = guessing.model_copy(update={"strategy": Cod()})
    with start_run(x, str(tmp_path)):
        second = process(x, tmp_path)

    assert 0 != second.returncode
    assert f"LockedError: {tmp_path} is locked by pid {os.getpid()} on " in second.stderr


def _together(barrier: Any, out: str, fields: str) -> None:
    logging.basicConfig(level="INFO", format="%(message)s")
    x = Experiment.model_validate(json.loads(fields))
    barrier.wait(100)
    with start_run(x, out) as opened:
        opened.run(lambda: nullcontext(LocalEngine(x.compute)))


def test_two_runs_share_one_cache(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep's trials would prepare a dataset side by side, or read half of one (J04)."""
    x, cache, barrier = tiny(compute=ONE_THREAD), tmp_path / "cache", FORKS.Barrier(2)
    monkeypatch.setenv("RAYAL_CACHE", str(cache))
    logs, fields = [tmp_path / "a.log", tmp_path / "b.log"], json.dumps(x.model_dump(mode="json"))
    work = partial(_together, barrier)
    both = [started(whole, work, str(log), str(log.with_suffix("")), fields) for log in logs]
    for process in both:
        process.join(120)
    said = "".join(log.read_text() for log in logs)
    stores = [path for path in (cache / "stores").iterdir() if not path.name.startswith(".lock")]

    assert [0, 0] == [process.exitcode for process in both], said
    assert 1 == said.count("preparing digits")
    assert [x.dataset.open().url.rsplit("/")[-1]] == [store.name for store in stores]
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")


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
