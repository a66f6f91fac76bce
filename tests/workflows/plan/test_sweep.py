"""The plan of a sweep: all arms, and what all trials cost together."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import rich.console

from rayal.errors import UsageError
from rayal.experiment.compute import Compute
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.workflows.plan import make
from rayal.workflows.plan import sweep as plans
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.sizes import RUN_FILES
from rayal.workflows.plan.sweep import make_sweep
from rayal.workflows.plan.tariff import FREE, Tariff
from rayal.workflows.plan.times import CONNECT_SECONDS, TRAIN_SECONDS

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "digits", "limit_pool": 60, "limit_test": 20},
    "model": {"name": "small_cnn", "width": 4},
    "strategy": "random",
    "scheme": {"name": "supervised", "epochs": 2, "batch_size": 16},
    "budget": {"initial": 20, "per_cycle": 20, "total": 40},
    "compute": {"engine": "local", "device": "cpu"},
    "tracking": "none",
}
SPACE = {
    "strategy": {"grid_search": ["random", "entropy"]},
    "scheme": {"lr": {"grid_search": [0.1, 0.2]}},
}
TIMED = Probe("cpu", {16: 1.0}, evaluate=0.1, score=(0.2, 0.2))


def swept(**sweep: Any) -> SweptExperiment:
    fields = {**FIELDS, "sweep": {"seeds": [0, 1, 2], "space": SPACE, **sweep}}
    return SweptExperiment.model_validate(fields)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was timed, in place of doing so."""
    found: list[str] = []
    monkeypatch.setattr(
        plans, "measure", lambda x, store: found.append(x.strategy.part_name()) or TIMED
    )
    return found


def test_all_trials_by_hand(timed: list[str]) -> None:
    """Four arms of three seeds; a kind of arm is timed once; arms of one training share its first:
    two rates train apart, two strategies do not."""
    plan = make_sweep(swept(cpus=0.5), tariff=Tariff(7200, 0.5))
    ((_, first), *_) = plan.arms
    saved = 2 * 3 * first.cycles[0].steps * 1.0
    each = [sum(plan.seconds or ()) for _, plan in plan.arms]

    assert ["random", "entropy"] == timed
    assert (12, 3) == (plan.trials, plan.seeds)
    assert [
        "lr=0.1 strategy=random",
        "lr=0.2 strategy=random",
        "lr=0.1 strategy=entropy",
        "lr=0.2 strategy=entropy",
    ] == [arm for arm, _ in plan.arms]
    assert plan.seconds == pytest.approx(3 * sum(each) - saved)
    assert plan.files == 3 * sum(plan.files for _, plan in plan.arms)
    assert plan.to_dict()["price"] == pytest.approx(plan.seconds * 2 + 12 * 40 * 0.5)
    json.dumps(plan.to_dict())


def test_what_a_search_may_propose_is_planned(timed: list[str]) -> None:
    space = {"strategy": {"choice": ["random", "entropy"]}, "scheme": {"lr": {"uniform": [0, 1]}}}
    plan = make_sweep(swept(space=space, search="optuna", samples=10))

    assert (30, 2) == (plan.trials, len(plan.arms))


def test_a_sweep_in_a_terminal(timed: list[str]) -> None:
    """Every arm with its training, and the price below."""
    file = io.StringIO()
    plan = make_sweep(swept(), tariff=Tariff(label=0.5))
    rich.console.Console(file=file, width=140).print(plan.to_rich())
    text = file.getvalue()

    assert "supervised, 2 epochs, lr 0.2 (multistep), batches of 16" in text
    assert "trials  12, each of 3 seeds for every arm" in text
    assert "price   240.00: 480 labels at 0.5" in text
    assert "trials at a time" in text or "one trial at a time" in text


def test_arms_of_a_warning_are_named(timed: list[str]) -> None:
    """Who reads that cod measures little would not know that no other arm does."""
    names = ["random", "entropy", "cod", "core_gcn"]
    x = swept(space={"strategy": {"grid_search": names}}, share_first_cycle=False)
    x = x.model_copy(update={"start": "cold"})
    text = str(make_sweep(x))

    assert "use warm (strategy=cod)" in text
    assert "fit     graph in every cycle, in 200 steps (strategy=core_gcn)\n" in text
    assert "buys    40 labels in each trial\n" in text


def test_trials_on_ray_share_cluster_and_workers(timed: list[str]) -> None:
    """60 trials would be planned with a quarter of an hour of starting what starts once."""
    local, ray = (
        make_sweep(swept(cpus=1).model_copy(update={"compute": Compute(engine=engine)}))
        for engine in ("local", "ray")
    )

    assert (CONNECT_SECONDS + TRAIN_SECONDS) * 11 == ray.saved_seconds - local.saved_seconds


def test_arms_that_cannot_run_are_found(timed: list[str]) -> None:
    """All of them, before anything is timed; nothing is written."""
    budget = {"candidates": {"grid_search": [30, 500, 1000]}}
    with pytest.raises(UsageError, match="2 problems in the arms of the sweep"):
        make_sweep(swept(space=budget))
    assert [] == timed


KEPT = {"weights": "last", "shards": "none"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategy": "core_set", "observers": ["cod"]},
        {"keep": {"weights": "last", "shards": "last"}, "ensemble": 2},
        {"strategy": "entropy", "keep": KEPT},
        {"strategy": "cod", "keep": KEPT},
        {"keep": {"weights": "none", "shards": "all"}},
    ],
    ids=str,
)
def test_files_are_counted(tmp_path: Path, undrawn: None, changes: dict[str, Any]) -> None:
    """A shared disk may allow a hundred thousand files, and a sweep have more."""
    from rayal.experiment.experiment import Experiment
    from rayal.workflows.run import start_engine, start_run

    compute = {**FIELDS["compute"], "shard_rows": 32}
    x = Experiment.model_validate({**FIELDS, **changes, "compute": compute})
    with start_run(x, str(tmp_path / "run")) as run:
        run.run(lambda: start_engine(x.compute))
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]

    plan = make(x, x.dataset.open(), probe=False)
    kinds, small = {"weights": ".safetensors", "scores": ".parquet"}, {"labels", "confusion"}
    there = {
        kind: sum(f.stat().st_size for f in files if f.suffix == end and f.stem not in small)
        for kind, end in kinds.items()
    }

    assert len(files) == plan.files
    assert there["weights"] == pytest.approx(plan.disk["weights"], rel=0.1)
    assert (there["scores"] > 0) == (plan.disk["scores"] > 0)


def test_sixty_trials_of_fifty_cycles_stay_below_a_hundred_thousand_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shared disk would be full of files; under `all` it would be. The pool has 25 shards, as
    CIFAR-10 has. Of a cycle there are 15 files and its shards: those of train (started.json,
    done.json, epochs.jsonl, weights), evaluate (3), score (2 and shards), select (3), label (3)."""
    from rayal.experiment.experiment import Experiment

    fields = {**FIELDS, "dataset": "digits"}
    fields["budget"] = {"initial": 20, "per_cycle": 20, "total": 1000}
    x = Experiment.model_validate(fields)
    store, shards = x.dataset.open(), 25
    monkeypatch.setattr(store.pool, "shards", lambda rows: [None] * shards)
    keep = SweptExperiment.model_validate({**fields, "sweep": {"space": {"strategy": "cod"}}}).keep
    plans = [make(x.model_copy(update={"keep": k}), store, probe=False) for k in (x.keep, keep)]
    everything, usual = plans

    assert 50 == len(usual.cycles)
    assert RUN_FILES + 3 + 49 * (15 + shards) + 7 == everything.files
    assert RUN_FILES + 3 + 49 * 14 + 6 + 1 + shards == usual.files
    assert 60 * usual.files < 50_000 < 100_000 < 60 * everything.files
    assert "keep    weights last, shards last" in str(usual)
    assert "keep    " not in str(everything)
    assert {"weights": "last", "shards": "last"} == usual.to_dict()["keep"]


@pytest.mark.parametrize(
    ("tariff", "hours", "price", "line"),
    [
        (FREE, 2.0, None, None),
        (Tariff(5), 2.0, 10.0, "price   10.00: 2 h at 5"),
        (Tariff(label=0.1), None, 30.0, "price   30.00: 300 labels at 0.1"),
        (Tariff(5, 0.1), 2.0, 40.0, "price   40.00: 2 h at 5, 300 labels at 0.1"),
        (Tariff(5, 0.1), None, None, "price   unknown: hours that were not timed at 5, 300 lab"),
    ],
)
def test_prices(tariff: Tariff, hours: float | None, price: float | None, line: str | None) -> None:
    """A price without its time would be that of the labels alone."""
    lines = [each for each in tariff.lines(hours, 300, "samples") if each.startswith("price")]

    assert price == tariff.price(hours, 300)
    assert [] == lines if line is None else lines[0].startswith(line)
