"""Pages that runs and sweeps write when they end."""

import logging
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rayal.cli.options import app
from rayal.experiment.experiment import Experiment
from rayal.report import at_end
from rayal.report.page import document
from rayal.report.page.command import PAGE, command
from rayal.runs.find_records import find_records
from tests.support import made_up
from tests.support.pages import Page
from tests.support.whole_runs import ONE_THREAD, go, short


def test_a_run_ends_with_its_page(
    tiny: Callable[..., Experiment], drawn: None, tmp_path: Path
) -> None:
    """Who labels would have to know a command."""
    x = short(tiny, strategy="random", scheme={"epochs": 1, "batch_size": 16}, compute=ONE_THREAD)
    go(x, tmp_path / "run")
    page = Page((tmp_path / "run" / PAGE).read_text())
    _, *points = page.tables["Points of the curves: tiny on digits"]

    assert [20, 40, 60] == [int(row[1]) for row in points]
    assert "What was chosen" in page.text and "What the models say is not asked" in page.text


def test_a_run_that_goes_on_has_its_page_anew(
    tiny: Callable[..., Experiment], drawn: None, tmp_path: Path
) -> None:
    """People who label cycle by cycle would look at the first one for ever; and the page of a
    complete run, which its owner may have made with more in it, stays."""
    fields = {"strategy": "random", "scheme": {"epochs": 1, "batch_size": 16}}
    budget = {"initial": 20, "per_cycle": 20}
    for total in (20, 40):
        x = short(tiny, **fields, compute=ONE_THREAD, budget={**budget, "total": total})
        go(x, tmp_path)
    page = Page((tmp_path / PAGE).read_text())
    (tmp_path / PAGE).write_text("mine")
    go(x, tmp_path)

    assert 2 == len(page.tables["Points of the curves: tiny on digits"][1:])
    assert "mine" == (tmp_path / PAGE).read_text()


def test_a_page_that_fails_is_a_warning_with_its_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A finished run would end as a failed one because a picture of it could not be drawn."""
    record = made_up.run(tmp_path / "it's mine", cycles=2)

    def fails(seen: object) -> str:
        raise MemoryError("no room")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(document, "html", fails)
        nothing = at_end.page_of([record])
    (said,) = caplog.messages
    monkeypatch.chdir(tmp_path)
    words = shlex.split(said.partition("write it with: rayal ")[2])
    done = CliRunner().invoke(app, words)

    assert nothing is None and said.startswith("no page (no room)")
    assert 0 == done.exit_code and "made_up on x" in (tmp_path / PAGE).read_text()
    assert ["curves.png"] != [file.name for file in tmp_path.rglob("curves.png")]


def test_runs_of_a_sweep_are_named_by_it(tmp_path: Path) -> None:
    """A command of fifty folders fits no terminal."""
    for name in "ab":
        made_up.run(tmp_path / "sweep" / "trials" / name, cycles=1)
    (tmp_path / "sweep" / "sweep.yaml").write_text("")
    records = find_records([str(tmp_path)])

    assert f"rayal report {tmp_path / 'sweep'} --html report.html" == command(records)
