"""rayal/storage/mistaken.py: what a file often is that was taken for data."""

from pathlib import Path

import pytest

from rayal.errors import DataError
from rayal.storage.mistaken import mistaken
from rayal.storage.parquet import open_parquet


@pytest.mark.parametrize(
    "data, what",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS"),
        (b" \n<HTML>", "is a page of the web"),
        (b"\x1f\x8b", "is packed with gzip"),
    ],
)
def test_it_is_told_from_the_first_bytes(data: bytes, what: str, tmp_path: Path) -> None:
    """A download that failed would be called damaged, and be downloaded the same way again."""
    (tmp_path / "a.parquet").write_bytes(data)
    with (
        pytest.raises(DataError, match=f"a.parquet {what}"),
        open_parquet(str(tmp_path / "a.parquet")),
    ):
        pass

    assert (mistaken(data) or "").startswith(what)


def test_data_is_not_mistaken() -> None:
    """A good file would be refused."""
    assert None is mistaken(b"PAR1") and None is mistaken(b"PK\x03\x04")
