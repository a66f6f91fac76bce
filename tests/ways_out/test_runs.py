"""Run folders with damage: the command of the run mends what the message says that it mends."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rayal.cli import app
from rayal.errors import StorageError
from rayal.runs.record import Record
from rayal.runs.results import Trained
from rayal.runs.trackers.base import Background
from rayal.runs.trackers.none import NoneTracker
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run
from tests.support.doubles import trained


@pytest.mark.parametrize("content", [None, b"[", b"- a", b"name: x\n# sha256 0\n"])
def test_settings_are_written_anew(
    tiny: Callable[..., Any], tmp_path: Path, content: bytes | None
) -> None:
    """By the run's own command, with the damaged file still there; or from a copy."""
    out = Folder(tmp_path / "run")
    with start_run(tiny(), out.url):
        copy = out.read("experiment.yaml")
    for restore in (lambda: out.write("experiment.yaml", copy), lambda: None):
        out.remove("experiment.yaml") if content is None else out.write("experiment.yaml", content)
        with pytest.raises(StorageError, match="or give the run's own command again, which writes"):
            Record(out).check()
        restore()
        with start_run(tiny(), out.url) as session:
            assert "tiny" == session.record.experiment()["name"]


def test_rows_of_epochs_are_deleted(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Rows that cannot be read, and those that are not what the training recorded."""
    out = Folder(tmp_path / "run")
    with start_run(tiny(), out.url) as session:
        session.ledger.once(
            0,
            Trained,
            lambda out: trained().model_copy(update={"log": out.write("epochs.jsonl", b"{}\n")}),
        )
    train = out / "cycle-000" / "train"
    train.write("epochs.jsonl", b'{"loss": 1}\n')
    with pytest.raises(StorageError, match="or delete it, which loses nothing but these rows$"):
        Record(out).epochs(0)
    train.remove("epochs.jsonl")
    assert [] == Record(out).epochs(0)

    train.remove("done.json")
    train.write("epochs.jsonl", b"[")
    with pytest.raises(StorageError, match="epochs.jsonl is damaged: .*; delete it$"):
        Record(out).epochs(0)
    train.remove("epochs.jsonl")
    assert [] == Record(out).epochs(0)


def test_the_rest_is_sent_by_the_command_of_the_warning(
    tiny: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As it is written there, for a folder whose name a shell would take apart."""
    away, sent = True, list[str]()

    def sync(_: object, record: Record, **__: object) -> None:
        if away:
            raise StorageError("no server")
        sent.append(record.folder.url)

    monkeypatch.setattr(NoneTracker, "sync", sync)
    with start_run(tiny(), str(tmp_path / "my run")) as session:
        with Background(NoneTracker(), session.record):
            pass
    (warning,) = (record.getMessage() for record in caplog.records)
    program, *arguments = shlex.split(warning.partition("send the rest with: ")[2])
    away = False
    ended = CliRunner().invoke(app, arguments)

    assert ("rayal", 0) == (program, ended.exit_code)
    assert [str(tmp_path / "my run")] == sent
