"""Places as functions of the API take them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rayal
from rayal.api.places import urls
from rayal.errors import UsageError


def test_one_place_or_several() -> None:
    """A path would be taken for a list of its letters, or a run not be accepted as a place."""
    run: Any = SimpleNamespace(url="s3://bucket/run")

    assert ["runs"] == urls("runs") == urls(Path("runs"))
    assert ["s3://bucket/run"] == urls(run)
    assert ["runs", "s3://bucket/run"] == urls(each for each in (Path("runs"), run))


def test_what_is_no_place(runs: Path) -> None:
    """The number of a run would end in a TypeError of rayal's own."""
    for wrong in (3, [3], None):
        given: Any = wrong
        with pytest.raises(UsageError, match="is no place; give a run folder, a folder above some"):
            rayal.status(given)
    assert 4 == len(rayal.status(runs).rows)


def test_no_place_is_an_error(tmp_path: Path) -> None:
    """An empty list, as of a pattern that matches nothing, would give an empty table."""
    for verb in (rayal.status, rayal.compare, rayal.sync):
        with pytest.raises(UsageError, match="no place is given; give run folders"):
            verb(tmp_path.glob("nothing*"))
