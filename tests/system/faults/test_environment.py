"""Other clocks, time zones, locales, hash seeds and threads (N)."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rayal.experiment.experiment import Experiment
from rayal.runs.record import Record
from rayal.storage import lock
from rayal.storage.folder import Folder
from tests.support.whole_runs import BRIEF, ONE_THREAD, go, outcome, stopped_at

KILLED_RUN = Path(__file__).parents[2] / "support" / "killed_run.py"


def process_in(
    env: dict[str, str], x: Experiment, out: Path, point: str = "none"
) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own that starts with these variables."""
    command = [sys.executable, str(KILLED_RUN), str(out), json.dumps(x.model_dump(mode="json"))]
    return subprocess.run(
        [*command, point], env=os.environ | env, capture_output=True, text=True, timeout=120
    )


def test_the_environment_decides_nothing(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A run would choose otherwise in another time zone or locale, with another hash seed or other
    threads; here it is killed in one environment and goes on in another (N01, N02, N03, N04)."""
    x, point = tiny(scheme=BRIEF, compute=ONE_THREAD), "cycle-001/score/shard-00000.parquet"
    go(x, tmp_path / "here")
    west = {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONUTF8": "0"}
    west |= {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2"}
    east = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"}
    east |= {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1"}
    killed = process_in(west, x, tmp_path / "there", point)
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    resumed = process_in(east, x, tmp_path / "there")
    assert 0 == resumed.returncode, resumed.stderr
    texts = [path.read_text() for path in (tmp_path / "there").rglob("*.json")]
    moments = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', "".join(texts))

    assert outcome(tmp_path / "here") == outcome(tmp_path / "there")
    assert len(moments) > 20
    assert not [moment for moment in moments if not moment.endswith("+00:00")]


def test_a_clock_set_back_between_attempts(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts would be ordered by a clock that jumps, and durations be negative (N01)."""

    class HourAgo(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> Any:
            return datetime.now(zone) - timedelta(hours=1)

    x = tiny(scheme=BRIEF, compute=ONE_THREAD)
    go(x, tmp_path / "whole")
    stopped_at(x, tmp_path / "run", 1, "score")
    monkeypatch.setattr(lock, "datetime", HourAgo)
    go(x, tmp_path / "run")
    record = Record(Folder(tmp_path / "run"))
    seconds = [v for row in record.cycles() for k, v in row.items() if k.endswith("_seconds") and v]
    done = [
        json.loads((tmp_path / f"run/cycle-{c}/done.json").read_text())
        for c in ("000/train", "001/train", "001/score", "002/train")
    ]

    assert outcome(tmp_path / "whole") == outcome(tmp_path / "run")
    assert [1, 1, 2, 2] == [one["attempt"] for one in done]
    assert done[2]["finished"] < done[1]["finished"]
    assert min(seconds) >= 0
