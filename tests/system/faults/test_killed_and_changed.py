"""A run that was killed, and is changed before it goes on (A)."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rayal.errors import LockedError
from rayal.experiment.experiment import Experiment
from rayal.storage.local_files import temporary_name
from tests.support.killed_run import Runs
from tests.support.whole_runs import ONE_THREAD, chosen, files_of, go, stopped_at


def test_a_killed_run_refuses_another_configuration(
    tiny: Callable[..., Experiment], process: Runs, tmp_path: Path
) -> None:
    """A run would go on with another learning rate than it began with (A13), or with what a
    killed writer left (A15)."""
    x, point = tiny(compute=ONE_THREAD), "cycle-000/score/shard-00001.parquet"
    killed = process(x, tmp_path, point)
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    half = f"cycle-000/score/{temporary_name()}"
    leftover = tmp_path / half
    leftover.write_bytes(b"half")
    before = {n: d for n, d in files_of(tmp_path).items() if n != "lock.json"}
    scheme = {"name": "supervised", "epochs": 4, "batch_size": 16, "lr": 0.01}
    changed = tiny(scheme=scheme, seed=1, compute=ONE_THREAD)
    with pytest.raises(LockedError) as refused:
        go(changed, tmp_path)
    del before[half]  # swept by whoever holds the lock

    assert 6 == refused.value.exit_code
    assert "(there -> here): seed: 0 -> 1, scheme.lr: 0.05 -> 0.01; use" in str(refused.value)
    assert before == {n: d for n, d in files_of(tmp_path).items() if n != "lock.json"}

    go(x, tmp_path)

    assert [20, 20] == [len(ids) for ids in chosen(tmp_path)]
    assert not list(tmp_path.rglob(".tmp-*"))


def test_orphans_are_listed(
    guessing: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files would vanish from a run folder without a word (A15)."""
    stopped_at(guessing, tmp_path, 0, "train")
    half = tmp_path / "cycle-000" / temporary_name()
    half.write_bytes(b"half")
    with caplog.at_level("INFO", "rayal"):
        go(guessing, tmp_path)

    assert f"removed the unfinished file {half}" in caplog.text
