"""What a run shows of itself while it goes on: drawn seldom, and never less than all at its end."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayal.report import views
from rayal.report.views import Views
from rayal.runs.events import Event
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder

LONG = 3600.0


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cycles each picture showed."""
    made = list[int]()

    def draw(record: Any) -> bytes:
        made.append(len(record.cycles()))
        return b"picture"

    monkeypatch.setattr(views, "draw_run", draw)
    return made


@pytest.fixture
def record(tmp_path: Path) -> Any:
    rows = list[dict[str, float]]()
    folder, trial_of = Folder(tmp_path), "a sweep"
    return SimpleNamespace(folder=folder, cycles=lambda: list(rows), rows=rows, sweep=trial_of)


def evaluate(record: Any, shown: Views) -> None:
    """A cycle's evaluation ends."""
    cycle = len(record.rows)
    record.rows.append({"cycle": cycle, "labels": 10 + cycle, "accuracy": 0.5})
    result = Evaluated(metrics={"accuracy": 0.5}, labels=10 + cycle, cost=10.0)
    shown.on(Event("begun", "evaluate", cycle))
    shown.on(Event("ended", "evaluate", cycle, result=result))


def test_every_cycle_has_a_row_and_the_end_a_picture(
    record: Any, drawings: list[int], tmp_path: Path
) -> None:
    """A picture a cycle takes longer than a small cycle."""
    shown = Views(record, every=LONG)
    for cycle in range(3):
        evaluate(record, shown)
        assert cycle + 1 == len((tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [] == drawings and not (tmp_path / "curve.csv").exists()
    shown.finish()

    assert [3] == drawings
    assert "cycle,labels,accuracy" == (tmp_path / "curve.csv").read_text().splitlines()[0]
    assert 4 == len((tmp_path / "curve.csv").read_text().splitlines())


def test_a_long_run_is_drawn_meanwhile(record: Any, drawings: list[int]) -> None:
    shown = Views(record, every=0.0)
    for _ in range(3):
        evaluate(record, shown)
    shown.finish()

    assert [1, 2, 3] == drawings  # and not once more at its end


def test_a_run_that_was_killed_before_its_picture(
    record: Any, drawings: list[int], tmp_path: Path
) -> None:
    """The same command finds it complete, and would leave the curve of some cycle before."""
    shown = Views(record, every=0.0)
    evaluate(record, shown)
    evaluate(record, Views(record, every=LONG))
    Views(record).finish()
    assert [1, 2] == drawings

    (tmp_path / "curve.csv").unlink()  # killed between the two files
    Views(record).finish()
    Views(record).finish()
    assert [1, 2, 2] == drawings


def test_a_picture_that_cannot_be_drawn_ends_nothing(
    record: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(record: Any) -> bytes:
        raise RuntimeError("no font")

    monkeypatch.setattr(views, "draw_run", fail)
    shown = Views(record, every=0.0)
    evaluate(record, shown)
    shown.finish()

    assert "is not drawn: no font" in caplog.text


def test_drawing_that_cannot_be_imported_is_one_warning(
    record: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread's traceback would stand on the terminal."""
    monkeypatch.setattr(views, "CURVES", "rayal.report.not_there")
    monkeypatch.setattr(views, "draw_run", lambda record: import_module(views.CURVES))
    shown = Views(record, every=LONG)
    evaluate(record, shown)
    assert shown.imported is not None
    shown.imported.join()
    shown.finish()

    assert ["is not drawn: No module named 'rayal.report.not_there'"] == [
        message[message.index("is not") :] for message in caplog.messages
    ]
