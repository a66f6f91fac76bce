"""rayal/workflows/plan/__init__.py: the plan says what the loop then does."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich.console
import torch
from torch import Tensor

import rayal.signals.computed
from rayal.cycle.loop import run
from rayal.data.store import Store
from rayal.engine.local import LocalEngine
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.parts import find
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from rayal.training.base import Batch
from rayal.training.schemes.ads import AdsLearner
from rayal.workflows.plan import make
from rayal.workflows.plan.cycles import Cycle, Prices, plan_cycles
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.run_plan import Plan
from tests.support import scenes
from tests.support.doubles import Silent

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": {"name": "small_cnn", "width": 4},
    "strategy": "cod",
    "scheme": {"name": "supervised", "epochs": 2, "batch_size": 16},
    "budget": {"initial": 20, "per_cycle": 20, "total": 50},
    "compute": {"engine": "local", "device": "cpu", "score_batch": 64},
}


class Collected(Silent):
    """Keeps the results of the stages."""

    def __init__(self) -> None:
        self.results: dict[tuple[int | None, str], Any] = {}

    def ended(self, cycle: int | None, result: Any) -> None:
        self.results[cycle, result.stage] = result


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Images of 8 x 8 pixels are too small to share among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def store() -> Store:
    return find("datasets", "digits")().open()


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(FIELDS | changes)


def cycles(store: Store, **changes: Any) -> list[Cycle]:
    return list(plan_cycles(experiment(**changes), store.card))


def test_cycles_by_hand(store: Store) -> None:
    """1,437 in the pool, 360 test images: 20 + 20 + the 10 that are left."""
    assert [
        Cycle(0, labels=20, steps=4, evaluated=360, scored=1417, passes=2, bought=20),
        Cycle(1, labels=40, steps=6, evaluated=360, scored=1397, passes=1, bought=10),
        Cycle(2, labels=50, steps=8, evaluated=360, scored=0, passes=0, bought=0),
    ] == cycles(store)


def test_passes(store: Store) -> None:
    """The second forward of COD is what a plan is asked for: it doubles the cost of scoring."""

    def passes(**changes: Any) -> list[int]:
        return [cycle.passes for cycle in cycles(store, **changes)]

    assert [2, 1, 0] == passes()  # then kept predictions
    assert [2, 2, 0] == passes(candidates=100)  # other candidates in each cycle
    assert [1, 1, 0] == passes(strategy="entropy", candidates=100)
    assert [0, 0, 0] == passes(strategy="random")
    assert [1, 1, 0] == passes(strategy="random", observers=["entropy", "margin"])
    assert [2, 1, 0] == passes(strategy="random", observers=["cod"])
    assert [1, 1, 0] == passes(strategy={"name": "cod", "first_cycle": "entropy"})
    assert [1, 1, 0] == passes(strategy="random", guards={"per_class": 9})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"candidates": 130, "observers": ["random"]},
        {"strategy": "random", "scheme": {"name": "supervised", "steps": 3}},
        {"budget": {"initial": 20, "per_cycle": 20, "total": 20}},
        {"strategy": "random", "guards": {"min_distance": 0}},
    ],
    ids=["cod", "candidates", "random", "no cycles", "guards"],
)
def test_the_loop_does_what_was_planned(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """A plan that is not kept is worse than none: every number, against a run."""
    x, watcher, batches = experiment(**changes), Collected(), list[int]()
    forward = rayal.signals.computed.forward
    monkeypatch.setattr(
        rayal.signals.computed, "forward", lambda *given: batches.append(1) or forward(*given)
    )
    with Ledger(Folder(tmp_path / "run"), x.identity()) as ledger:
        run(x, store, ledger, LocalEngine(x.compute), watcher)

    def seen(cycle: Cycle) -> int:  # beside candidates
        return cycle.scored + (cycle.labels if cycle.scored and x.scans_labeled() else 0)

    planned = list(plan_cycles(x, store.card))
    for cycle in planned:
        done = {
            stage: watcher.results.get((cycle.cycle, stage))
            for stage in ("train", "evaluate", "score", "select")
        }
        assert cycle.steps == done["train"].steps
        assert cycle.labels == done["evaluate"].labels
        assert seen(cycle) == (done["score"].units if done["score"] else 0)
        assert cycle.bought == (len(done["select"].ids) if done["select"] else 0)
    assert (len(planned), "train") not in watcher.results
    shards = [shard.rows for shard in store.pool.shards(x.compute.shard_rows)]
    assert 1 == len(shards)
    assert sum(cycle.passes * -(-seen(cycle) // 64) for cycle in planned) == len(batches)


def paid(**changes: Any) -> Experiment:
    fields = {"dataset": "camvid", "task": "segmentation", "model": "small_segmenter"}
    return experiment(**{**fields, "oracle": "clicks", **changes})


@pytest.mark.parametrize(
    ("prices", "budget", "expected"),
    [
        (Prices(17.3, 17.3), (3000, 60, 3120), [(24, 0, 0)]),  # more clicks than the pool is worth
        (Prices(30, 30), (300, 90, 480), [(10, 14, 3), (13, 11, 3), (16, 0, 0)]),
        (Prices(30, 30), (310, 85, 480), [(10, 14, 3), (13, 11, 3), (16, 0, 0)]),
        # too dear for one cycle: what is left over buys in the next
        (Prices(300, 300), (600, 200, 1200), [(2, 22, 0), (2, 22, 1), (3, 21, 1), (4, 0, 0)]),
    ],
)
def test_clicks_buy_as_many_images_as_there_are(store, prices, budget, expected):
    """A plan would buy a negative number of images, or more than the pool has."""
    fields = dict(zip(("initial", "per_cycle", "total"), budget, strict=True), unit="clicks")
    card = store.card.model_copy(update={"pool": 24})
    x = paid(strategy="entropy", budget=fields)
    cycles = list(plan_cycles(x, card, prices))

    assert expected == [(cycle.labels, cycle.scored, cycle.bought) for cycle in cycles]


def test_the_unit_at_which_the_budget_is_exceeded_is_planned(store):
    """A plan would refuse a run that can be made, for its one image too few."""
    fields = {"initial": 500, "per_cycle": 300, "total": 800, "unit": "clicks", "overshoot": True}
    card = store.card.model_copy(update={"pool": 24})
    cycles = list(plan_cycles(paid(strategy="entropy", budget=fields), card, Prices(294, 294)))

    found = [(cycle.labels, cycle.scored, cycle.bought) for cycle in cycles]
    assert [(2, 22, 1), (3, 0, 0)] == found


def test_clicks_buy_regions_of_many_images(store):
    """Polygons would be planned as whole images: a tenth of those that are trained on."""
    fields = {"initial": 300, "per_cycle": 60, "total": 420, "unit": "clicks"}
    card = store.card.model_copy(update={"pool": 40})
    cycles = list(
        plan_cycles(paid(strategy="random_polygon", budget=fields), card, Prices(30, 3, parts=True))
    )

    found = [(cycle.labels, cycle.scored, cycle.bought) for cycle in cycles]
    assert [(10, 30, 20), (30, 30, 20), (40, 0, 0)] == found


def test_disk_and_memory_by_hand(store: Store) -> None:
    """Rows of 24 bytes, a float64 score and 10 kept float16: 52 bytes."""
    plan = make(experiment(), store, probe=False)

    assert (1417 + 1397) * (24 + 8 + 20) == plan.disk["scores"]
    assert 50 * 64 == plan.memory["labeled images"]
    assert 0 < plan.disk["weights"] - plan.memory["weights, gradients and optimizer"] < 3 * 2000
    streamed = make(experiment(compute={"resident_bytes": 10}), store, probe=False)
    assert 0 == streamed.memory["labeled images"]


def test_disk_of_maps_by_hand(tmp_path: Path) -> None:
    """A row holds the grid of an image, 6 x 8 places at output stride 4, and its size."""
    dataset = {"name": "camvid", "root": str(scenes.write(tmp_path, pool=12, test=2))}
    changes = {"dataset": dataset, "strategy": "random_image_entropy_polygon"}
    x = paid(**changes, budget={"initial": 40, "per_cycle": 9, "total": 49, "unit": "clicks"})
    plan = make(x, x.dataset.open(), probe=False)

    assert plan.cycles[0].scored * (24 + 8 + 2 * (2 + 6 * 8)) == plan.disk["scores"] > 0


def test_adam_needs_more_memory_than_momentum(store: Store) -> None:
    """Two numbers of each weight in place of one, in memory and in every checkpoint."""
    adam = FIELDS["scheme"] | {"optimizer": "adam"}
    few, many = (make(experiment(**each), store, probe=False) for each in ({}, {"scheme": adam}))
    what, files = "weights, gradients and optimizer", "checkpoints while training"

    assert 4 * few.memory[what] == 3 * many.memory[what]
    assert 3 * few.disk[files] == 2 * many.disk[files]


def test_scores_on_disk_are_as_large_as_planned(store: Store, tmp_path: Path) -> None:
    """A plan that promises too little fills the disk; compression may halve it."""
    x = experiment(observers=["margin"])
    with Ledger(Folder(tmp_path / "run"), x.identity()) as ledger:
        run(x, store, ledger, LocalEngine(x.compute), Collected())

    actual = sum(file.stat().st_size for file in tmp_path.rglob("shard-*.parquet"))

    planned = make(x, store, probe=False).disk["scores"]
    assert 0.3 * planned < actual < 1.1 * planned


def test_probe(store: Store) -> None:
    """The time comes from the real model and data; the largest and smallest batch are timed."""
    x = experiment(budget={"initial": 10, "per_cycle": 20, "total": 50})

    plan = make(x, store)

    assert plan.probe is not None and plan.seconds is not None
    assert "cpu" == plan.probe.device
    assert [10, 16] == list(plan.probe.steps)
    assert len(plan.cycles) == len(plan.seconds)
    assert all(seconds > 0 for seconds in plan.seconds)
    assert min(plan.probe.evaluate, *plan.probe.score, *plan.probe.steps.values()) > 0


ADS = {"name": "ads", "epochs": 3, "batch_size": 16, "lr": 0.01, "unlabeled_subset": 300}


def test_updates_in_phases_are_planned(store: Store, tmp_path: Path) -> None:
    """Most of the work of a scheme with phases would be in no plan: 300 images are 3 batches, in
    two phases, before the second and the third epoch."""
    x = experiment(scheme=ADS, strategy="random", tracking="none")
    seen = Collected()
    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        run(x, store, ledger, LocalEngine(x.compute), seen)
    actual = [seen.results[cycle, "train"].steps for cycle in range(3)]

    assert [3 * n + 2 * 2 * 3 for n in (2, 3, 4)] == actual
    assert actual == [cycle.steps for cycle in plan_cycles(x, store.card)]


def test_a_probe_times_a_batch_of_each_phase(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan would take as long as the whole pool twice, for every step that it times."""
    phases: list[str | None] = []
    original = AdsLearner.step

    def step(made: AdsLearner, batch: Batch) -> dict[str, Tensor]:
        phases.append(batch.phase)
        return original(made, batch)

    monkeypatch.setattr(AdsLearner, "step", step)
    plan = make(experiment(scheme=ADS, strategy="random"), store)
    found = Counter(phases)

    assert plan.probe is not None and plan.probe.steps[16] > 0
    assert 1 < found[None] and found["agreement"] == found["discrepancy"] < found[None]


def test_step_time_between_the_timed_batches() -> None:
    """Early cycles train on less than a batch."""
    probe = Probe("cpu", {20: 1.0, 100: 3.0}, evaluate=1.0, score=(1.0, 1.0))

    assert [1.0, 2.0, 3.0] == [probe.step(images) for images in (20, 60, 100)]
    assert 5.0 == Probe("cpu", {16: 5.0}, 1.0, (1.0, 1.0)).step(16)


def test_a_plan_reports_all_problems(store: Store) -> None:
    """`rayal plan` is where contradictions are looked for."""
    with pytest.raises(UsageError, match="2 problems"):
        make(experiment(candidates=2000, budget=FIELDS["budget"] | {"total": 2000}), store)


def test_a_plan_may_be_for_another_machine(store: Store) -> None:
    """What this machine lacks is a warning: the plan may be for a cluster."""
    plan = make(experiment(compute={"scorers": 10_000}), store, probe=False)

    assert any("compute.scorers: takes 10000" in warning for warning in plan.warnings)


def shown(plan: Plan) -> str:
    file = io.StringIO()
    rich.console.Console(file=file, width=100).print(plan.to_rich())
    return file.getvalue()


def test_the_plan_in_a_terminal(store: Store) -> None:
    """One row per cycle, the totals and the warnings below."""
    text = shown(make(experiment(), store, probe=False))

    assert ["0", "20", "4", "360", "1,417", "2", "20"] == text.splitlines()[1].split()
    assert "disk    " in text and "memory  " in text and "time" not in text
    assert "train   supervised, 2 epochs, lr 0.1 (multistep), batches of 16\n" in text
    assert "warning: budget: the last cycle buys the 10 that are left, not 20" in text


def test_what_chooses_is_told(store: Store) -> None:
    """Plans of two strategies would read alike, and of random ones as if scores were made."""
    some = make(experiment(candidates=100), store, probe=False)
    whole = {"initial": 400, "per_cycle": 1, "total": 400}
    once = make(experiment(strategy="random", budget=whole), store, probe=False)

    every = "choose  cod, from all that is not labeled in each cycle; 50 labels in the end\n"
    assert every in shown(make(experiment(), store, probe=False))
    assert "cod, from 100 at random in each cycle; 50 labels in the end" == some.chooses
    assert "choose" not in str(once) and " 0 B" not in str(once)  # scores, of which there are none


def test_what_is_fitted_is_no_warning(store: Store) -> None:
    """Whoever looks for mistakes would find one in every plan of such a strategy."""
    plan = make(experiment(strategy="uncertain_gcn"), store, probe=False)

    assert ("graph in every cycle, in 200 steps",) == plan.fits
    assert "fit     graph in every cycle, in 200 steps\n" in str(plan)
    assert "200 steps" not in " ".join(plan.warnings)


def test_a_training_that_may_end_early_is_planned_whole(store: Store) -> None:
    """An upper bound would be taken for what a run takes, and nobody know why it took less."""
    scheme = {**FIELDS["scheme"], "early_stopping": {"patience": 5}}
    plan = make(experiment(scheme=scheme), store, probe=False)
    memory = make(experiment(), store, probe=False).memory
    few = experiment(scheme=scheme, budget={"initial": 9, "per_cycle": 20, "total": 49})

    assert plan.training.endswith(
        "batches of 16; at most: 20% of the labels are held out, and end a training after 5 epochs"
        " without a better one"
    )
    assert {"the best weights so far"} == plan.memory.keys() - memory.keys()
    assert "early_stopping" not in " ".join(plan.warnings)
    assert "scheme.early_stopping: 9 labels are too few to hold 20% of them out" in " ".join(
        make(few, store, probe=False).warnings
    )


def test_the_plan_as_json(store: Store) -> None:
    """For programs: everything that the table shows, in numbers."""
    plan = json.loads(json.dumps(make(experiment(), store, probe=False).to_dict()))

    assert {"cycle": 1, "labels": 40, "steps": 6, "bought": 10}.items() <= plan["cycles"][1].items()
    assert plan["seconds"] is None


def test_what_guards_do_and_cost(store: Store) -> None:
    """Whoever sets a guard has to see that the cycles may buy less, and what the pass keeps."""
    free, seen = (make(experiment(guards=g), store, probe=False) for g in ({}, {"min_distance": 2}))
    limited = make(experiment(guards={"per_class": 4, "min_distance": 0.5}), store, probe=False)

    assert () == free.guards and "guards" not in str(free)
    scored = sum(cycle.scored for cycle in free.cycles)
    rows = sum(cycle.scored + cycle.labels for cycle in seen.cycles if cycle.scored)
    assert 16 * 2 + 4 == seen.disk["scores"] / rows - free.disk["scores"] / scored
    assert seen.guards[0].startswith("min_distance 2 may buy less in a cycle than this table has;")
    assert "the pass keeps features, 16 numbers of each candidate" in seen.guards[1]
    assert "guards  min_distance 0.5 and per_class 4 may buy less" in str(limited)


def test_rules_that_may_end_a_run_are_told(store: Store) -> None:
    """The table would look like what surely happens, and a budget be asked for that is not
    needed."""
    rules = {"target": 0.95, "plateau": {"points": 0.5, "cycles": 2}}
    free, ended = (make(experiment(stop=s), store, probe=False) for s in ({}, rules))

    assert "ends  " not in str(free) and free.cycles == ended.cycles
    assert (
        "ends    maybe earlier, by target: accuracy 0.95; by plateau: 2 cycles bring less than 0.5"
        " points\n"
    ) in f"{ended}\n"
    assert json.loads(json.dumps(ended.to_dict()))["ends"] == list(ended.ends)
