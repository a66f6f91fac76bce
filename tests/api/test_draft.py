"""The file to begin with, from Python as from the command line."""

from pathlib import Path

import pytest

import rayal
from tests.workflows.test_init import photos


def test_a_draft_is_a_file_that_loads(tmp_path: Path) -> None:
    """Else a newcomer's first file would fail on a line that rayal wrote."""
    made = rayal.draft("parquet", "first", folder=tmp_path)

    assert (tmp_path / "first.yaml", None) == (made.file, made.found)
    assert ("first", "parquet") == (
        (x := rayal.load(made.file, dataset={"root": str(tmp_path)})).name,
        x.dataset.part_name(),
    )


@pytest.mark.parametrize("place", ["photos", "drafts/photos"])
def test_a_root_is_seen_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Paths in a file start from its own folder: the images would be looked for below that."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drafts").mkdir()
    photos(tmp_path / place)
    made = rayal.draft("image_folder", "pets", place, "drafts")

    assert str(tmp_path / place) == rayal.load(made.file).dataset.root
    assert ("root: photos" in made.file.read_text()) == (place == "drafts/photos")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    """A traceback that says KeyError."""
    with pytest.raises(rayal.UsageError, match="'folder' is no way to keep images; .*image_folder"):
        rayal.draft("folder", "first", folder=tmp_path)  # type: ignore[arg-type]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    rayal.draft("masks", "first", folder=tmp_path)
    with pytest.raises(rayal.UsageError, match="is there already"):
        rayal.draft("masks", "first", folder=tmp_path)
