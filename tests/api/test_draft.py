"""The file to begin with, from Python as from the command line."""

from pathlib import Path

import pytest

import rayal


def test_a_draft_is_a_file_that_loads(tmp_path: Path) -> None:
    """Else a newcomer's first file would fail on a line that rayal wrote."""
    made = rayal.draft("parquet", "first", folder=tmp_path)

    assert (tmp_path / "first.yaml", None) == (made.file, made.found)
    assert ("first", "parquet") == (
        (x := rayal.load(made.file, dataset={"root": str(tmp_path)})).name,
        x.dataset.part_name(),
    )


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    rayal.draft("masks", "first", folder=tmp_path)
    with pytest.raises(rayal.UsageError, match="is there already"):
        rayal.draft("masks", "first", folder=tmp_path)
