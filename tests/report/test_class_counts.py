"""Classes of what a run bought, and of its pool."""

from pathlib import Path

from numpy.testing import assert_array_equal

from rayal.labeling.oracles.base import Label
from rayal.report.class_counts import bought_counts, by_cycle, pool_counts
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.record import Record
from rayal.runs.results import Initial, Labeled
from rayal.storage.folder import Folder
from tests.support import made_up


def bought(folder: Path, value: object) -> Record:
    """A run of an older rayal: answers that nobody has counted."""
    with Ledger(Folder(folder), {"data": "0"}) as ledger:
        ledger.once(0, Initial, lambda out: write_labels(out, {"a": Label(value, 1.0)}))
        ledger.once(0, Labeled, lambda out: write_labels(out, {"b": Label(value, 1.0)}))
    return Record(Folder(folder))


def test_as_kept(tmp_path: Path) -> None:
    """Ten of each cycle, every other one a dog; the first labels nobody chose."""
    record = made_up.run(tmp_path / "run", pool=[30, 12])

    assert_array_equal([10, 10], bought_counts(record, 2))
    assert_array_equal([[5, 5], [5, 5]], [*by_cycle(record, 2)])
    assert_array_equal([30, 12], pool_counts(record, 2))


def test_of_an_older_rayal(tmp_path: Path) -> None:
    """Answers that are classes are counted; masks would have to be opened; the pool is unknown."""
    classes, masks = bought(tmp_path / "classes", 1), bought(tmp_path / "masks", b"mask")

    assert_array_equal([0, 1], bought_counts(classes, 2))
    assert bought_counts(masks, 2) is None is pool_counts(masks, 2)


def test_a_pool_that_nobody_counted(tmp_path: Path) -> None:
    """Shares of nothing."""
    assert pool_counts(made_up.run(tmp_path / "run", pool=[0, 0]), 2) is None
