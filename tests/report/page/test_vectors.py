"""The page of a run on vectors of features, which nobody can look at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rayal.experiment.experiment import Experiment
from rayal.report.page.document import html
from rayal.report.page.seen import Seen
from rayal.report.tables import summarise
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.pages import Page
from tests.support.whole_runs import ONE_THREAD, go


def test_their_map_is_that_of_the_pool(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """The features are the data, so no pass has to keep some; and a missing picture is no fault."""
    rng = np.random.default_rng(0)
    for split, count in (("pool", 60), ("test", 20)):
        labels = np.arange(count) % 3
        features = rng.normal(size=(count, 8)) + labels[:, None]
        ids = np.array([f"{split}-{number}" for number in range(count)])
        np.savez(tmp_path / f"{split}.npz", id=ids, features=features, label=labels)
    files = {"pool": "pool.npz", "test": "test.npz"}
    x = tiny(
        dataset={"name": "features", "root": str(tmp_path), **files},
        model="linear_head",
        scheme={"epochs": 2, "batch_size": 16},
        strategy="random",
        budget={"initial": 9, "per_cycle": 9, "total": 27},
        compute=ONE_THREAD,
    )
    go(x, tmp_path / "run")
    record = Record(Folder(tmp_path / "run"))
    page = Page(html(Seen(summarise([record]), [record])))
    drawn = next(figure for figure in page.figures if "ids" in figure)

    assert {f"pool-{number}" for number in range(60)} == {*drawn["ids"]}
    assert {None: 33, -1: 9, 0: 9, 1: 9} == {c: drawn["cycles"].count(c) for c in (None, -1, 0, 1)}
    assert {} == drawn["pictures"] and "look at: vectors of features;" in page.text
