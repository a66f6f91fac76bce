"""A run without test images: every place that shows runs says so, and none takes it for a test."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from pydantic import ValidationError
from rich.console import Console

import rayal
from rayal.cli.console import RunConsole
from rayal.data.store import Store
from rayal.errors import LabelsPending, UsageError
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.labeling.oracles.base import Label, Oracle
from rayal.runs.events import Event
from rayal.runs.results import Evaluated
from rayal.runs.trackers import _view
from rayal.runs.trackers._mlflow_runs import _run_note
from rayal.storage.folder import Folder
from rayal.workflows.sweep.sweeping import start_sweep
from tests.support import untested

SAID = "no test set. new_accuracy: accuracy on the labels bought last"
BUDGET = {"initial": 20, "per_cycle": 10, "total": 40}
KNOWN = ["new_accuracy", "fit_accuracy"]


class Silence(Oracle):
    """People who have not answered yet."""

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        raise LabelsPending(f"waiting for {len(ids)} labels")


@pytest.fixture(scope="module")
def done(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, rayal.Run]:
    """Three cycles by two strategies on digits without test images."""
    root = tmp_path_factory.mktemp("untested")
    options = {"dataset": untested.dataset(root / "data"), "budget": BUDGET}
    return {
        name: rayal.run(tiny(strategy=name, **options), root / "runs" / name)
        for name in ("random", "margin")
    }


@pytest.fixture
def run(done: dict[str, rayal.Run]) -> rayal.Run:
    return done["margin"]


def printed(shown: Any) -> str:
    file = io.StringIO()
    Console(file=file, width=80).print(shown)
    return " ".join(file.getvalue().split())


def words(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text"))]
    return " ".join(" ".join(found).split())


def test_the_curve_has_what_labels_say(run: rayal.Run) -> None:
    """A column of test accuracy would be made up, or the first cycle be 0."""
    curve = run.curve()

    assert KNOWN == [name for name in curve if name.endswith("accuracy")]
    assert [True, False, False] == np.isnan(curve["new_accuracy"]).tolist()
    assert "new_accuracy" == run.record.headline and not run.record.tested
    table = (Path(run.url) / "curve.csv").read_text().splitlines()
    assert "new_accuracy,fit_accuracy" in table[0] and 4 == len(table)


def test_run_and_status_say_it(run: rayal.Run) -> None:
    """A number of two meanings would be read as the usual one."""
    assert SAID in printed(run.to_rich()) and "fit_accuracy" in printed(run.to_rich())
    assert "no test set, new_accuracy 0." in repr(run) and "new_accuracy" in run._repr_html_()
    status = rayal.status(run.url)
    assert SAID in " ".join(str(status).split())


def test_a_line_of_each_cycle(run: rayal.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cycle, of which nothing was bought before, would end the run."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with RunConsole(run.record, "new_accuracy", 4) as console:
        for cycle in (0, 1):
            result = run.record.result(cycle, Evaluated)
            console.on(Event("ended", "evaluate", cycle, result=result))
    first, second = stream.getvalue().splitlines()

    assert first.startswith("cycle 0: 20 labels, fit_accuracy ")
    assert second.startswith("cycle 1: 30 labels, new_accuracy ") and ", fit_accuracy " in second


def test_pictures_say_it(run: rayal.Run) -> None:
    """Whoever sees the picture alone would take it for a test."""
    assert SAID in words(run.plot()) and "Accuracy on labels bought last (%)" in words(run.plot())
    assert run.pictures(0) is not None


def test_strategies_are_not_compared(done: dict[str, rayal.Run], tmp_path: Path) -> None:
    """The strategy that asks for easy images would be called the better one."""
    found = rayal.compare(done.values())

    warning, unknown = found.warnings
    assert "whether margin is better than random cannot be known" in unknown
    assert SAID in warning and "measures neither the pool nor strategies" in warning
    assert found.tests().empty and found.table()["aulc"].isna().all()
    assert "AULC over" not in str(found)
    assert [] == found.draw(tmp_path).classes
    assert (tmp_path / "curves.png").exists()
    assert SAID in found.to_markdown() and "NaN" not in found.to_json()


def test_a_run_that_has_only_begun(tiny: Any, tmp_path: Path) -> None:
    """One cycle has no labels that were bought last."""
    x = tiny(
        dataset=untested.dataset(tmp_path / "data"),
        budget={**BUDGET, "total": 20},
        strategy="margin",
    )
    run = rayal.run(x, tmp_path / "run")

    assert "20 labels, no test set" in repr(run)
    assert "–" in printed(run.to_rich()) and SAID in words(run.plot())
    (row,) = rayal.status(run.url).rows
    assert ("new_accuracy", None) == (row["metric"], row["value"])
    assert "–" in str(rayal.compare(run.url))


def test_with_and_without_tests_are_two_questions(
    done: dict[str, rayal.Run], tiny: Any, tmp_path: Path
) -> None:
    """Two numbers of different meaning would lie on one axis."""
    root = Path(done["margin"].experiment.dataset.folder)
    dataset = untested.dataset(root) | {"test": ["pool.parquet"], "limit_test": 20}
    dataset["id"] = None
    other = rayal.run(tiny(dataset=dataset, budget=BUDGET, strategy="margin"), tmp_path / "tested")
    table = rayal.compare([other, done["margin"]]).table()

    assert ["accuracy", "new_accuracy"] == sorted(table["metric"])


def test_trackers_show_it(run: rayal.Run) -> None:
    """An empty value would be refused by a server, and the run be shown nowhere."""
    points = [
        {point.key: point.value for point in cycle} for cycle in _view.cycle_points(run.record)
    ]

    assert ["curve/new_accuracy" in cycle for cycle in points] == [False, True, True]
    assert all("fit_accuracy" in cycle for cycle in points)
    assert SAID in _run_note(run.record)


def test_sweeps_are_refused(tiny: Any, tmp_path: Path) -> None:
    """Trials would be ranked by what they chose to be measured on."""
    fields = {"budget": BUDGET, "strategy": "margin"}
    block = {"seeds": [0], "space": {"scheme": {"lr": {"grid_search": [0.05, 0.1]}}}}

    def swept(dataset: Any) -> SweptExperiment:
        x = tiny(dataset=dataset, **fields).model_dump(mode="json")
        return SweptExperiment.model_validate({**x, "sweep": block})

    with (
        pytest.raises(UsageError, match="'parquet' has no test images, and what strategies chose"),
        start_sweep(swept(untested.dataset(tmp_path / "data")), str(tmp_path / "sweep")),
    ):
        raise AssertionError
    with start_sweep(swept("digits"), str(tmp_path / "sweep")):
        pass


def test_plans_of_what_nobody_knows(tiny: Any, tmp_path: Path) -> None:
    """A plan would need the labels that it is about."""
    dataset = untested.dataset(tmp_path / "data", labeled=False)
    x = tiny(dataset=dataset, budget=BUDGET, strategy="margin", oracle=Silence())
    plan = rayal.plan(x)
    told = " ".join(plan.warnings)

    assert plan.seconds is not None and [20, 40, 60] != [each.labels for each in plan.cycles]
    assert [20, 40, 50] == [each.evaluated for each in plan.cycles]
    assert SAID in told and "nobody knows how many images of each class are in the pool" in told
    with pytest.raises(LabelsPending, match="waiting for 20 labels"):
        rayal.run(x, tmp_path / "run")
    with pytest.raises(ValidationError, match="does not know classes beforehand; set it to false"):
        tiny(dataset=dataset, budget={**BUDGET, "balanced": True}, oracle=Silence())
