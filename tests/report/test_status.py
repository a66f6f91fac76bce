"""rayal/report/status.py: where runs are, and why they are not further."""

import io
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from rayal.errors import Apart, DataError, LabelsPending, StorageError
from rayal.report.status import status_folder, status_notes, status_rows, status_table
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.results import Evaluated, Initial, Trained
from rayal.storage import lock
from rayal.storage.folder import Folder
from tests.runs.test_record import WHOLE
from tests.support.doubles import evaluated, trained

ENDS = {
    "complete": None,
    "waiting": LabelsPending("waiting for 3 of 5\n labels"),
    "crashed": DataError("loss became nan; http://me:pass@host"),
    "interrupted": KeyboardInterrupt(),
    "stopped": SystemExit(0),
}
"""State -> what ends the run."""


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs that have ended in every way."""
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    for name, error in ENDS.items():
        end(tmp_path / "runs-of-a-long-name" / f"{name}-supervised-seed0", error)
    return tmp_path


def end(run: Path, error: BaseException | None) -> None:
    try:
        with Ledger(Folder(run), {}) as ledger:
            (run / "experiment.yaml").write_text(yaml.safe_dump(WHOLE))
            spent = 4 if error is None else 2
            ledger.once(0, Initial, lambda out: write_labels(out, {}))
            ledger.once(0, Trained, lambda out: trained())
            ledger.once(0, Evaluated, lambda out: evaluated(spent, accuracy=0.5))
            if error is not None:
                raise error
    except type(error or ValueError):
        pass


def shown(rows: list[dict[str, object]]) -> str:
    file = io.StringIO()
    Console(file=file, width=80).print(status_table(rows))
    return file.getvalue()


def test_a_run_says_how_it_ended(ended: Path) -> None:
    """Waiting, crashed and interrupted runs would look alike: who has to do something?"""
    rows = status_rows([str(ended)])
    states = {Path(row["run"]).name.split("-")[0]: row["state"] for row in rows}

    assert {name: name for name in ENDS} == states
    assert [
        "crashed-supervised-seed0: crashed, loss became nan; http://***@host",
        "interrupted-supervised-seed0: interrupted, the same command continues it",
        "stopped-supervised-seed0: stopped early by its sweep",
        "waiting-supervised-seed0: waiting for 3 of 5 labels",
    ] == status_notes(rows)


@pytest.mark.parametrize("content", [b"", b'{"how": "cra', b"[]", b"\xff"])
def test_a_damaged_word_of_the_end_is_no_damage(ended: Path, content: bytes) -> None:
    """A disk that was full as a run ended would make it unreadable."""
    (run,) = (ended / "runs-of-a-long-name").glob("crashed*")
    (run / "ended.json").write_bytes(content)
    (row,) = status_rows([str(run)])

    assert ("interrupted", "") == (row["state"], row["message"])


def test_what_goes_on_has_not_ended(ended: Path) -> None:
    """A run that was continued would still be called crashed."""
    (run,) = (ended / "runs-of-a-long-name").glob("crashed*")
    with Ledger(Folder(run), {}):
        (row,) = status_rows([str(run)])
        assert ("running", "") == (row["state"], row["message"])


def test_the_table_fits_a_terminal(ended: Path) -> None:
    """Lines of 200 signs are unreadable on 80."""
    rows = status_rows([str(ended)])
    lines = shown(rows).splitlines()

    assert str(ended / "runs-of-a-long-name") == status_folder(rows)
    assert 6 == len(lines) and max(map(len, lines)) <= 80
    assert ["run", "state", "cycle", "stage", "labels", "accuracy"] == lines[0].split()
    assert ["complete-supervised-seed0", "complete", "0", "4", "0.5000"] == lines[1].split()


def test_a_damaged_run_has_a_row(ended: Path) -> None:
    """One empty file would hide all other runs."""
    (ended / "runs-of-a-long-name/crashed-supervised-seed0/experiment.yaml").write_text("")
    (ended / "runs-of-a-long-name/waiting-supervised-seed0/run.json").write_text('{"id"')
    apart = Apart()
    rows = status_rows([str(ended)], apart=apart)

    assert ["complete", "damaged", "interrupted", "stopped", "damaged"] == [
        row["state"] for row in rows
    ]
    assert 2 == shown(rows).count("damaged")
    with pytest.raises(StorageError, match="2 problems, all else is done"):
        apart.end()
    with pytest.raises(StorageError):
        status_rows([str(ended)])
