"""`rayal.sync`: what trackers lack, sent from Python."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import StorageError, UsageError
from rayal.runs.record import Record
from rayal.runs.trackers.none import NoneTracker
from rayal.storage import yaml_file, yaml_text
from rayal.storage.folder import Folder


def test_a_run_of_parts_that_are_not_here(runs: Path, tmp_path: Path) -> None:
    """A run of a notebook's own class could not be sent when the notebook is closed."""
    copied = Path(shutil.copytree(runs / "random-0", tmp_path / "run"))
    fields = Record(Folder(copied)).experiment()
    fields["strategy"] = {"name": "__main__.Mine", "power": 2}
    (copied / "experiment.yaml").write_text(yaml_file.sealed(yaml_text.dump(fields)))

    with pytest.raises(UsageError, match="__main__.Mine"):
        assert rayal.open_run(copied).experiment
    assert [(str(copied), None)] == rayal.sync(copied)


def test_every_run_is_sent_whatever_another_does(
    one_damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server missed would stay unsent behind one bad run, or a script believe that all was
    sent."""
    sent, told = list[str](), list[str]()

    def sync(self: Any, record: Record, **_: Any) -> None:
        if record.folder.url.endswith("random-0"):
            raise StorageError("MLflow is away")
        sent.append(record.folder.url)

    monkeypatch.setattr(NoneTracker, "sync", sync)
    with pytest.raises(StorageError, match="2 problems, all else is done") as raised:
        rayal.sync(one_damaged, on_run=lambda done: told.append(done.url))

    assert [str(one_damaged / name) for name in ("entropy-0", "random-1")] == sent == told
    assert 2 == len(raised.value.problems)
    (done,) = rayal.sync(rayal.open_run(one_damaged / "random-1"))
    assert (str(one_damaged / "random-1"), None) == done
