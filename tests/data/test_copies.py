"""Images that are there more than once, by id."""

from pathlib import Path

import pytest

from rayal.data.copies import COPIES, Copies, Copy, encode, read
from rayal.storage.folder import Folder, recorded

ROWS = [
    Copy("b", "pool", "a"),
    Copy("ü,1", "pool", "c"),
    Copy("e", "pool", "a"),
    Copy("t", "test", "a"),
    Copy("u", "test", "d"),
]


def test_groups_and_test_images() -> None:
    """All of one content are test images, not the first of them alone."""
    found = Copies.of(ROWS)

    assert (("a", "b", "e"), ("c", "ü,1")) == found.groups
    assert {"a", "b", "e", "d"} == found.in_test
    assert Copies() == Copies.of([])


@pytest.mark.parametrize("rows", [ROWS, []])
def test_what_was_written_is_read(tmp_path: Path, rows: list[Copy]) -> None:
    """An id that changed on its way would not be left out."""
    data = encode(rows)
    Folder(tmp_path).write(COPIES, data)

    assert rows == read(Folder(tmp_path), recorded(COPIES, data).sha256)


def test_damage_is_seen(tmp_path: Path) -> None:
    """Other images would be left out than those that are there twice."""
    data = encode(ROWS)
    Folder(tmp_path).write(COPIES, data.replace(b"test", b"pool"))

    with pytest.raises(ValueError, match="not what the card says"):
        read(Folder(tmp_path), recorded(COPIES, data).sha256)
