"""People who answer by script choose and train as the simulation with the same answers."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.experiment.experiment import Experiment
from tests.support.people import answer, requests, run_with, table, truthful

BUDGET = {"initial": 20, "per_cycle": 20, "total": 60}


@pytest.fixture
def digits(tiny: Any) -> Any:
    """Builds an experiment of two purchases after the first units."""

    def build(**fields: Any) -> Experiment:
        made: Experiment = tiny(
            scheme={"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05},
            strategy="margin",
            **{"budget": BUDGET, **fields},
        )
        return made

    return build


def ending(out: Path) -> list[bytes]:
    """What a run is judged by: its picks, and the weights that it ended with."""
    picks = [path.read_bytes() for path in sorted(out.glob("cycle-*/select/chosen.csv"))]
    assert len(picks) >= 2
    return [*picks, *(p.read_bytes() for p in sorted(out.glob("cycle-*/train/weights.safetens*")))]


@pytest.fixture
def simulated(digits: Any, tmp_path: Path) -> list[bytes]:
    rayal.run(digits(), tmp_path / "simulated")
    return ending(tmp_path / "simulated")


def test_as_the_simulation(digits: Any, tmp_path: Path, simulated: list[bytes]) -> None:
    """Labels of people would train in another order, or be chosen by another draw."""
    x, out = digits(oracle="people"), tmp_path / "people"
    run_with(x, out, lambda: answer(out, truthful(x)))

    assert simulated == ending(out)
    assert 3 == len(requests(out))


def test_two_annotators_and_a_third(digits: Any, tmp_path: Path, simulated: list[bytes]) -> None:
    """What two annotators say differently would train, or never be asked again."""
    x, out = digits(oracle={"name": "people", "votes": 2}), tmp_path / "people"
    truth, disputed = truthful(x), []

    def wrong(unit: str) -> str:
        said = truth(unit)
        return said if sum(unit.encode()) % 5 else str((int(said or 0) + 1) % 10)

    def both() -> None:
        answer(out, truth, "ann")
        added = answer(out, wrong, "bob")
        disputed.append(added.disputed)
        file = tmp_path / "cid.csv"
        file.write_text(table(Path(added.again or ""), truth, "cid"))
        rayal.add_labels(out, file)

    run_with(x, out, both)
    votes = rayal.open_run(out).votes()

    assert simulated == ending(out)
    assert all(disputed) and sum(disputed) == (votes["annotator"] == "cid").sum()
    assert 2 * 60 + sum(disputed) == len(votes)


@pytest.mark.slow  # four clusters are started
@pytest.mark.ray
def test_on_ray(digits: Any, tmp_path: Path) -> None:
    """On a cluster the run would wait in a task, or ask for what another order has chosen."""
    compute = {"engine": "ray", "shard_rows": 256, "cpus_per_worker": 1}
    budget = {"initial": 20, "per_cycle": 20, "total": 40}
    rayal.run(digits(compute=compute, budget=budget), tmp_path / "simulated")
    x, out = digits(compute=compute, budget=budget, oracle="people"), tmp_path / "people"
    run_with(x, out, lambda: answer(out, truthful(x)))
    first, second = (tmp_path / each for each in ("simulated", "people"))
    files = ["cycle-000/select/chosen.csv", "cycle-001/train/weights.safetensors"]

    assert [(first / f).read_bytes() for f in files] == [(second / f).read_bytes() for f in files]


def test_with_a_share_and_late_answers(digits: Any, tmp_path: Path) -> None:
    """A late answer would be lost, bought twice, or its unit be out of reach."""
    x, out = digits(oracle={"name": "people", "wait": 0.5}), tmp_path / "people"
    truth, kept = truthful(x), dict[Path, str]()

    def half() -> None:
        request = requests(out)[-1]
        kept[request] = table(request, truth, "ann")
        units = [row["rayal_id"] for row in csv.DictReader(io.StringIO(kept[request]))]
        answer(out, lambda unit: truth(unit) if unit in units[: len(units) // 2] else None, "ann")
        earlier = requests(out)[:-1]
        if earlier:
            file = tmp_path / "late.csv"
            file.write_text(kept[earlier[-1]])
            added = rayal.add_labels(out, file)
            late.append(added.late)

    late: list[int] = []
    run_with(x, out, half)
    labels = rayal.open_run(out).labels()
    store = x.dataset.open()
    classes = store.labels("pool")

    assert late and all(late) and labels["id"].is_unique
    assert 60 <= len(labels) and all(
        classes[unit] == label for unit, label in zip(labels["id"], labels["label"], strict=True)
    )
