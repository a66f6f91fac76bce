"""What a terminal shows, in a text and in a notebook."""

import pytest
from rich.table import Table

from rayal.report.shown import as_html, text


def test_nothing_is_cut_and_nothing_hidden_is_shown() -> None:
    """Half of a folder's name is none, and a secret would be in a notebook that others read."""
    table = Table("run", "url", box=None)
    table.add_row("x" * 200, "http://me:s3cret@host/")
    shown = text(table)

    assert "x" * 200 in shown and "s3cret" not in shown
    assert 2 == len(shown.splitlines()) and shown == shown.rstrip()


def test_in_a_notebook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich shows a table there by itself: a plan would come twice, and its text be empty; and
    kernels set FORCE_COLOR, by which it writes signs for terminals."""
    table = Table("run")
    table.add_row("margin")
    outside = text(table)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)

    assert "margin" in outside and outside == text(table)


def test_a_name_is_no_markup() -> None:
    """A folder's name could run a script in somebody's notebook."""
    assert "&lt;script&gt; &amp;" in as_html("<script> &")
