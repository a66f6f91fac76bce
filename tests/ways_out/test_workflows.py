"""Out of what whole runs meet outside of themselves: each message, and then the step it names."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rayal.cli import app
from rayal.errors import StorageError
from rayal.runs.record import Record
from rayal.runs.trackers.none import NoneTracker
from rayal.workflows.run import start_run
from rayal.workflows.tracking import show_beside


def test_curves_that_were_not_sent_are_sent_by_the_command_of_the_warning(
    tiny: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The runs would be there in the end, and the page that lays them over one another never."""
    away, shown = True, list[str]()

    def summarise(_: object, found: Any, **__: object) -> None:
        if away:
            raise StorageError("no server")
        shown.append(found.name)

    monkeypatch.setattr(NoneTracker, "summarise", summarise)
    with start_run(tiny(), str(tmp_path / "my run")) as session:
        record = Record(session.record.folder)
    monkeypatch.setattr(
        "rayal.workflows.tracking._of_place", lambda *_: [type("Found", (), {"name": "tiny"})]
    )
    show_beside(NoneTracker(), record)
    (warning,) = (each.getMessage() for each in caplog.records)
    program, *arguments = shlex.split(warning.partition("send the rest with: ")[2])
    away = False
    ended = CliRunner().invoke(app, arguments)

    assert ("rayal", 0) == (program, ended.exit_code)
    assert ["tiny"] == shown
