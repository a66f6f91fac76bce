"""Where the labels of a run are; a budget in seconds of annotation, from plan to report."""

import json
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.report.status import status_notes, status_rows
from rayal.runs.record import Record
from rayal.runs.trackers._mlflow_sending import _status
from rayal.storage.folder import Folder
from tests.support.people import answer, asks, requests, run_with, table, truthful


@pytest.fixture
def build(tiny: Any) -> Any:
    def built(**fields: Any) -> Experiment:
        made: Experiment = tiny(
            **{
                "strategy": "margin",
                "oracle": "people",
                "scheme": {"name": "supervised", "epochs": 1, "batch_size": 16},
                **fields,
            }
        )
        return made

    return built


def message(run: Path) -> tuple[str, str]:
    (row,) = status_rows([str(run)])
    return row["state"], status_notes([row])[0] if row["message"] else ""


def test_from_the_first_request_to_the_end(build: Any, tmp_path: Path) -> None:
    """A labeling lead could not see what is missing, who answers, or what to do next."""
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    x, run = build(budget=budget, oracle={"name": "people", "votes": 2}), tmp_path / "run"
    truth = truthful(x)
    assert asks(x, run)
    record = Record(Folder(run))
    begun, words, shown = rayal.label_status(run), message(run), _status(record, False, "RUNNING")
    units = [line.split(",")[1] for line in table(requests(run)[-1], truth).splitlines()[1:]]
    wrong = {units[0]: "3" if truth(units[0]) != "3" else "4", units[1]: "SKIP"}
    answer(run, truth, "ann", seconds=2.0)
    answer(run, lambda unit: wrong.get(unit, truth(unit)), "bob", seconds=4.0)
    half = rayal.label_status(run)
    file = run.parent / "cid.csv"
    (folder,) = requests(run)[-1].parent.glob("disputed-*")
    file.write_text(table(folder, truth, "cid"))
    rayal.add_labels(run, file)
    full, all_in = rayal.label_status(run), message(run)

    assert ("waiting", "run: waiting for 20 labels, 0 in") == words and "RUNNING" == shown
    assert (20, 0, 20, True) == (
        *(begun.requests[0].asked, begun.requests[0].labeled, begun.requests[0].missing),
        begun.requests[0].open,
    )
    place = f"{run}/cycle-000/initial-asked"
    assert f"answer {place}/request, then: rayal labels add {run} FILE" == begun.next
    (first,) = half.requests
    assert (18, 0, 2, 2) == (first.labeled, first.skipped, first.missing, first.disputed)
    assert f"let another annotator answer {folder}, then: rayal labels add {run} FILE" == (
        half.next
    )
    assert first.alpha is not None and 0.9 < first.alpha < 1
    assert [("ann", 20, 0, 2.0), ("bob", 20, 1, 4.0)] == [
        (each.name, each.answers, each.skipped, each.seconds) for each in first.annotators
    ]
    assert "enough is in: the run's own command goes on" == full.next
    assert ("waiting", "run: waiting, 20 of 20 labels in: the run's own command goes on") == all_in
    assert (20, 0) == (full.requests[0].labeled, full.requests[0].missing)
    run_with(x, run, lambda: (answer(run, truth, "ann"), answer(run, truth, "bob")))
    done = rayal.label_status(run)
    assert "nothing: the run is complete" == done.next and [-1, 0] == [
        each.cycle for each in done.requests
    ]
    assert done.to_dict() == json.loads(json.dumps(done.to_dict()))
    assert "median s" in str(done) and "bob" in str(done) and "complete" == message(run)[0]
    found = rayal.compare(run)
    frame = found.annotators()
    assert [42, 40] == frame["votes"].tolist() and [3, 2] == frame["annotators"].tolist()
    assert "Annotators" in found.to_markdown() and f"{frame['alpha'][0]:.3f}" in str(found)
    assert 2 == len(json.loads(found.to_json())["annotators"])
    assert 82 == len(rayal.open_run(run).votes())


def test_runs_that_ask_nobody(build: Any, tmp_path: Path) -> None:
    """Of a simulation nobody answers; a run that has not asked yet would be an error."""
    x = build(budget={"initial": 20, "per_cycle": 20, "total": 20})
    rayal.run(build(oracle="simulated", budget={**dict(x.budget)}), tmp_path / "simulated")
    with pytest.raises(
        UsageError, match="its oracle is simulated, which asks nobody; set oracle: "
    ):
        rayal.label_status(tmp_path / "simulated")
    assert asks(x, tmp_path / "run")
    for path in (tmp_path / "run/cycle-000/initial-asked").rglob("*"):
        path.is_file() and path.unlink()
    found = rayal.label_status(tmp_path / "run")

    assert () == found.requests and "the run's own command goes on" in found.next


def test_seconds_from_the_plan_to_the_report(build: Any, tmp_path: Path) -> None:
    """Hours of annotation would be counted as labels, be paid by a guess, or never be spent."""
    budget = {"initial": 120, "per_cycle": 120, "total": 360, "unit": "seconds"}
    oracle = {"name": "people", "cost": "seconds", "seconds_per_unit": 6}
    x, run = build(budget=budget, oracle=oracle), tmp_path / "run"
    plan = rayal.plan(x, probe=False, label_price=18.0)
    asked: list[int] = []

    def work() -> None:
        asked.append(answer(run, truthful(x), "ann", seconds=(8.0, 4.0, 5.0)[len(asked)]).new)

    run_with(x, run, work)
    curve = rayal.open_run(run).curve()
    report = rayal.compare(run)

    assert [20, 40, 60] == [cycle.labels for cycle in plan.cycles] and 1.8 == plan.price
    assert "people  6 min of annotation" in str(plan)
    assert "0.1 h of annotation at 18" in str(plan)
    # 20 * 8 = 160; of 240 due 80 are left, for 8 each: 10, which take 4; of 360 due 160 are left,
    # for 200/30 each: 24
    assert [20, 10, 24] == asked
    assert [160.0, 200.0, 320.0] == curve["cost"].tolist() and [20, 30, 54] == (
        curve["labels"].tolist()
    )
    assert "by seconds" in report.to_markdown() and rayal.open_run(run).complete
    assert [120, 240, 360] == report.curves()["labels"].tolist()


def test_work_that_takes_far_too_long_ends(build: Any, tmp_path: Path) -> None:
    """Who needs ten times as long as was thought would be asked for ever."""
    budget = {"initial": 120, "per_cycle": 120, "total": 360, "unit": "seconds"}
    oracle = {"name": "people", "cost": "seconds", "seconds_per_unit": 6}
    for seconds, purchases in ((60.0, 1), (10.0, 3)):
        x, run = build(budget=budget, oracle=oracle), tmp_path / f"run-{seconds:g}"
        run_with(x, run, lambda: answer(run, truthful(x), "ann", seconds=seconds))  # noqa: B023
        assert rayal.open_run(run).complete and purchases == len(requests(run))


def test_a_sweep_asks_nobody(build: Any, tmp_path: Path) -> None:
    """Every trial would ask people for labels of its own, all at once."""
    x = build()
    with pytest.raises(UsageError, match="oracle: people would ask people for the labels of every"):
        rayal.sweep(x, {"scheme": {"lr": [0.1, 0.2]}}, [0], out=tmp_path)
