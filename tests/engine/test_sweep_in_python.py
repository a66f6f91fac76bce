"""`rayal.sweep` on Ray: from values of Python to a table, with strategies of the user's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.runs.events import Event
from rayal.workflows import run
from tests.support.notebook import notebook, own_parts

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@contextmanager
def joined(address: str | None) -> Iterator[int]:
    """The cluster of these tests."""
    yield 2


@pytest.fixture
def surprise(tmp_path: Path) -> Iterator[Any]:
    """A strategy that a notebook defines."""
    with notebook(tmp_path) as cell:
        yield own_parts(cell)["Surprise"]


@pytest.mark.slow
def test_a_sweep_from_python(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surprise: Any
) -> None:
    """A notebook's objects would not reach the workers, or its table be of other trials."""
    from faulty.waits import Waits  # found once the cluster's fixture has named its folder

    monkeypatch.setattr(run, "start_cluster", joined)
    x = tiny(
        strategy="random",
        scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
        budget={"initial": 20, "per_cycle": 20, "total": 40},
    )
    told = list[Event]()
    space = {"strategy": [surprise(power=2.0), Waits(gate=str(tmp_path / "absent"))]}
    settings = {"out": tmp_path / "out", "on_event": told.append, "address": "auto"}
    settings |= {"control": None}
    found = rayal.sweep(x, space, seeds=[3], **settings)

    assert found.complete and (tmp_path / "out").samefile(found.url)
    assert {"__main__.Surprise", "faulty.waits"} == {*found.table()["strategy"]}
    assert [(1, 1, 40)] * 2 == [
        *found.table()[["n", "complete", "labels"]].itertuples(index=False, name=None)
    ]
    assert [3, 3] == [*found.trials()["seed"]] and found.best() is not None
    assert [2, 2] == [len(run.curve()) for run in found.runs()]
    assert ("opened", "") == (told[0].what, told[0].note)
    assert 2 == sum(event.what == "ended" for event in told)
    assert found.url == rayal.open_sweep(found.url, plugins=["faulty"]).url
