"""Whole runs of segmentation in this process: schemes, committees, clicks and polygons."""

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.torch import load

from rayal.cycle import shard_file
from rayal.cycle.loop import run
from rayal.cycle.train import TrainJob
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, LabelValue, decode
from rayal.engine.local import LocalEngine
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.parts import find
from rayal.report.class_counts import bought_counts, pool_counts
from rayal.report.page.document import html
from rayal.report.page.seen import Seen
from rayal.report.runs import Run
from rayal.report.tables import summarise
from rayal.runs.confusion import read_confusion
from rayal.runs.ledger import Ledger, PoolState
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated, Scored
from rayal.storage.folder import Folder, Json
from rayal.workflows.run import start_engine, start_run
from tests.support import scenes, whole_runs
from tests.support.doubles import Silent, models_for, small_strategy, strategies_for
from tests.support.pages import Page
from tests.workflows.test_run import ending

POOL = 24
IMAGE_STRATEGIES = [
    name
    for name in strategies_for("segmentation")
    if name not in ("d_score", "random_polygon", "random_image_entropy_polygon")
]
CLICKS: dict[str, Any] = {
    "oracle": {"name": "clicks", "tolerance": 3},
    "budget": {"initial": 100, "per_cycle": 60, "total": 220, "unit": "clicks"},
}
Dense = Callable[..., Experiment]


@pytest.fixture(scope="module")
def dense(
    cache: Path, undrawn: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Experiment]:
    """Builds experiments of three cycles that take a second; keyword arguments replace fields."""
    root = scenes.write(tmp_path_factory.mktemp("scenes"), pool=POOL, test=6)

    def build(**fields: Any) -> Experiment:
        fields = {
            "name": "dense",
            "dataset": {"name": "camvid", "root": str(root)},
            "task": "segmentation",
            "model": {"name": "small_segmenter", "width": 4},
            "scheme": scheme(),
            "strategy": "entropy",
            "budget": {"initial": 4, "per_cycle": 4, "total": 12},
            "compute": compute(),
            "tracking": "none",
            **fields,
        }
        return Experiment.model_validate(fields)

    return build


def scheme(name: str = "supervised", **fields: Any) -> dict[str, Any]:
    augment = {"flip": True, "window": [20, 28], "scale": [0.75, 1.5]}
    return {"name": name, "steps": 6, "batch_size": 4, "lr": 0.05, "augment": augment, **fields}


def compute(**fields: Any) -> dict[str, Any]:
    return {"engine": "local", "cpus_per_worker": 1, "score_batch": 8, **fields}


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


class Recording(LocalEngine):
    """Remembers what it has trained."""

    def __init__(self, x: Experiment) -> None:
        super().__init__(x.compute)
        self.jobs: list[TrainJob] = []

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Json]]:
        self.jobs += jobs
        yield from super().train(jobs)


class Done(NamedTuple):
    """A finished run."""

    pool: PoolState
    picks: list[Json]
    metrics: list[Json]
    weights: bytes
    jobs: list[TrainJob]


def go(x: Experiment, folder: Path) -> Done:
    """Runs to the end."""
    engine = Recording(x)
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
        cycles = range(pool.cycle)
        return Done(
            pool,
            [ledger.result(cycle, Chosen) for cycle in cycles],
            [ledger.result(cycle, Evaluated).to_json() for cycle in (*cycles, pool.cycle)],
            ledger.stage(pool.cycle, "train").read("weights.safetensors"),
            engine.jobs,
        )


def read(x: Experiment, label: LabelValue) -> np.ndarray:
    card = x.dataset.open().card
    assert card.masks is not None and not isinstance(label, int)
    return decode(label, card.masks, card.decoding or Decoding())


def test_a_run_learns_and_says_how_well(dense, tmp_path):
    """The curve of a paper: mIoU over labels, and of every class."""
    x = dense(scheme=scheme(steps=60))
    done = go(x, tmp_path)
    first, *_, last = done.metrics

    assert [4, 8, 12] == [row["labels"] for row in done.metrics]
    assert 0.3 < first["miou"] < last["miou"] > 0.6
    assert [None] * 8 == last["per_class_iou"][3:]  # classes that are not in these scenes
    there = [iou for iou in last["per_class_iou"] if iou is not None]
    assert len(there) == 3 and np.mean(there) == pytest.approx(last["miou"])


def test_what_a_run_keeps_of_its_pixels(dense, tmp_path):
    """A page would ask for images and models that nobody has any more."""
    x = dense()
    whole_runs.go(x, tmp_path / "run")
    record, store = Record(Folder(tmp_path / "run")), x.dataset.open()
    classes, task = len(store.card.classes), x.task

    def pixels(split, ids):
        masks = task.targets(store.labels(split, ids), store.card).numpy()
        return np.bincount(masks.ravel(), minlength=256)[:classes]

    for cycle in range(3):
        evaluated, counts = record.result(cycle, Evaluated), read_confusion(record, cycle, classes)
        right, both = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
        known = both > 0
        assert_array_equal(pixels("test", store.test.ids()), counts.sum(axis=1))
        assert evaluated.metrics["miou"] == pytest.approx(
            (right[known] / (both - right)[known]).mean()
        )
        assert evaluated.calibration is None
    bought = [unit for cycle in range(2) for unit in record.result(cycle, Chosen).ids]
    assert_array_equal(pixels("pool", bought), bought_counts(record, classes))
    assert_array_equal(pixels("pool", store.pool.ids()), pool_counts(record, classes))

    page = Page(html(Seen(summarise([record]), [record], asks_models=False)))
    _, *rows = page.tables["Share of each class among the picks, as a multiple of the pool's"]
    assert [float(row[2]) for row in rows] == pytest.approx(
        pixels("pool", bought) / pixels("pool", bought).sum()
    )
    assert "pixels of test images" in page.text and "random choice" not in page.text


def test_the_views_of_a_run_show_miou(dense, tmp_path):
    """People would look for the number that is the task's."""
    x = dense()
    with start_run(x, str(tmp_path)) as opened:
        opened.run(lambda: start_engine(x.compute))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]

    assert [4, 8, 12] == [row["labels"] for row in rows]
    assert all(0 < row["miou"] < 1 for row in rows)
    assert "miou" in (tmp_path / "curve.csv").read_text().splitlines()[0]


FOUR_MORE = {"initial": 4, "per_cycle": 4, "total": 8}


@pytest.fixture(scope="module")
def plain(dense: Dense, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run of two cycles in which nothing is added to the training."""
    return go(dense(strategy="random", budget=FOUR_MORE), tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "changed",
    [
        scheme("tod", unlabeled_batch_size=4),
        scheme("tod", unlabeled_batch_size=4, heads=2, use_labeled=True, reduction="mean"),
        scheme("cyclic_od", unlabeled_batch_size=4),
        scheme("isda", strength=2.0, ramp="step"),
        scheme("isda", strength=2.0, covariance="full", optimizer="adam", lr=1e-3),
        scheme(optimizer="adam", lr=1e-3, schedule="poly", last_layer_lr=10),
    ],
    ids=lambda fields: f"{fields['name']} {fields.get('heads', fields.get('covariance', ''))}",
)
def test_schemes_train_on_masks(dense, plain, tmp_path, changed):
    """A scheme that is said to be for segmentation would fail in its first step, or learn nothing
    from what it adds."""
    done = go(dense(scheme=changed, budget=FOUR_MORE, strategy="random"), tmp_path)

    assert plain.picks == done.picks and 8 == len(done.pool.labels)
    assert all(0 < row["miou"] < 1 for row in done.metrics)
    assert done.weights != plain.weights


def test_every_strategy_of_images_is_observed_in_one_run(dense, tmp_path):
    """One of them would need what a dense pass does not give, be it companions or references."""
    kinds = {name: find("strategies", name)() for name in IMAGE_STRATEGIES if name != "entropy"}
    teach = {n for n, each in kinds.items() if any(s.changes_training for s in each.companions())}
    others = [name for name in kinds if name not in teach]
    observed = dense(
        observers=others, ensemble=2, model={"name": "small_segmenter", "width": 4, "dropout": 0.3}
    )
    done = go(observed, tmp_path)

    for picks in done.picks:
        assert {*others} == picks.agreement["entropy"].keys()
        assert 4 == len(set(picks.ids)) == picks.cost


@pytest.mark.parametrize(
    ("strategy", "fields"),
    [
        ("qbc", {"ensemble": 2}),
        ("bald", {"model": {"name": "small_segmenter", "width": 4, "dropout": 0.3}}),
        ("cod", {"scheme": scheme("tod", unlabeled_batch_size=4)}),
        ("epmcm", {"scheme": scheme("isda", strength=2.0)}),
        slow("ensemble_entropy", {"ensemble": 2}),
        slow({"name": "entropy", "pixels": "above", "threshold": 0.9}, {}),
        slow("entropy_gradnorm", {}),
        slow("core_set", {}),
    ],
    ids=str,
)
def test_a_run_repeats_itself_whatever_its_batches(dense, tmp_path, strategy, fields):
    """The same seed would choose other images, on a larger GPU or the second time."""
    short = {"budget": {"initial": 4, "per_cycle": 6, "total": 10}}
    x = dense(strategy=strategy, **short, **fields)
    other = dense(strategy=strategy, compute=compute(score_batch=5), **short, **fields)
    first, again, divided = (
        go(each, tmp_path / name) for name, each in (("a", x), ("b", x), ("c", other))
    )

    assert first.picks == again.picks and first.weights == again.weights
    assert set(first.picks[0].ids) == set(divided.picks[0].ids)


def test_streamed_images_and_masks_teach_the_same(dense, tmp_path):
    """A labeled set that does not fit the device would train another model."""
    resident, streamed = (
        go(dense(compute=compute(resident_bytes=size)), tmp_path / str(size)) for size in (2**30, 0)
    )

    assert resident.weights == streamed.weights and resident.picks == streamed.picks


def test_images_of_many_sizes_lie_on_a_canvas(dense, tmp_path):
    """Datasets such as VOC have no one size: all strategies have to leave out the filling."""
    root = scenes.write(tmp_path / "mixed", pool=12, test=4, shapes=((24, 32), (20, 40), (30, 26)))
    dataset = {"name": "camvid", "root": str(root), "canvas": [30, 40]}
    done = go(dense(dataset=dataset, observers=["qbc", "epmcm"], ensemble=2), tmp_path / "run")

    assert 12 == len(done.pool.labels) and 0 < done.metrics[-1]["miou"] < 1


def test_a_graph_on_a_canvas_is_asked_where_its_nodes_are(dense, tmp_path):
    """The pass would leave out the filling and the fit not: units would be scored beside their own
    nodes, by how much of the canvas they leave free. Here the sum of all nodes is that of what the
    pass has kept of the same units."""
    root = scenes.write(tmp_path / "mixed", pool=12, test=4, shapes=((24, 32), (20, 40), (30, 26)))
    x = dense(
        dataset={"name": "camvid", "root": str(root), "canvas": [30, 40]},
        strategy={"name": "uncertain_gcn", "graph": {"updates": 5}},
        observers=["core_set"],
        budget={"initial": 4, "per_cycle": 4, "total": 8},
    )
    go(x, tmp_path / "run")
    with Ledger(Folder(tmp_path / "run"), x.identity()) as ledger:
        scored, folder = ledger.result(0, Scored), ledger.stage(0, "score")
        seen = shard_file.load(folder, scored, ["features"], names=["core_set"])["core_set"]
        fit = ledger.stage(0, "fit") / "graph"
        sums = load(fit.read("companion-graph.safetensors"))
    kept = np.concatenate([seen.kept["features"], seen.labeled["features"]]).astype(float)
    total = (kept / np.linalg.norm(kept, axis=1, keepdims=True)).sum(axis=0)

    assert 12 == len(kept)
    np.testing.assert_allclose(sums["sums.total"].numpy(), total, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("strategy", "overshoot"),
    [("entropy", False), ("entropy", True), ("qbc", True), ("core_set", False)],
)
def test_clicks_buy_images(dense, tmp_path, strategy, overshoot):
    """Costs of the curve, or masks of the training, would not be those that were paid for."""
    budget = {**CLICKS["budget"], "overshoot": overshoot}
    models = models_for(small_strategy(strategy))
    x = dense(strategy=strategy, ensemble=models, **{**CLICKS, "budget": budget})
    done, store = go(x, tmp_path), x.dataset.open()
    costs = x.oracle.costs(store, list(done.pool.labels))
    cycles = np.array([done.pool.bought[unit] for unit in done.pool.labels])

    assert costs.sum() == done.pool.spent and set(done.pool.labels) < set(store.pool.ids())
    for cycle in (-1, 0, 1):
        spent = costs[cycles <= cycle].sum()
        last = costs[cycles <= cycle][-1]
        due = x.budget.due(cycle)
        if overshoot:
            assert spent >= due > spent - last
        else:
            assert due - 40 < spent <= due  # no image costs more
    truth = store.labels("pool")
    for unit, label in done.pool.labels.items():
        drawn, true = read(x, label), read(x, truth[unit])
        assert 0.8 < (drawn == true).mean() < 1  # approximated


POLYGONS = ["random_polygon", "random_image_entropy_polygon"]


@pytest.fixture(scope="module", params=POLYGONS)
def polygons(
    request: pytest.FixtureRequest, dense: Dense, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Experiment, Done]:
    x = dense(strategy=request.param, observers=["random"], **CLICKS)
    return x, go(x, tmp_path_factory.mktemp(request.param))


def test_whole_images_first_then_regions(polygons):
    """The first model would learn from single regions, or later cycles buy images."""
    x, done = polygons
    images = set(x.dataset.open().pool.ids())
    units = {cycle: [] for cycle in (-1, 0, 1)}
    for unit, cycle in done.pool.bought.items():
        units[cycle].append(unit)

    assert set(units[-1]) <= images and 1 < len(units[-1])
    for cycle in (0, 1):
        chosen = [unit.rpartition("/")[0] for unit in units[cycle]]
        assert list(done.picks[cycle].ids) == units[cycle]
        assert set(chosen) <= images - set(units[-1])
        assert len(set(chosen)) == min(len(chosen), len(images) - len(units[-1]))


def test_polygons_cost_their_clicks(polygons):
    """Not a click more than the budget, and what was not spent is spent later."""
    x, done = polygons
    store, spent = x.dataset.open(), 0.0
    for cycle in (-1, 0, 1):
        units = [unit for unit, bought in done.pool.bought.items() if bought == cycle]
        costs = x.oracle.costs(store, units)
        spent += costs.sum()
        assert x.budget.due(cycle) - (40 if cycle < 0 else 12) < spent <= x.budget.due(cycle)
        assert cycle < 0 or done.picks[cycle].cost == costs.sum()
    assert spent == done.pool.spent == done.metrics[-1]["cost"]


def test_a_training_ignores_what_was_not_bought(polygons):
    """The ignore mask is the complement of what was bought (methods, Sec. 22)."""
    x, done = polygons
    store, job = x.dataset.open(), done.jobs[-1]
    parts = 0
    for image, label in zip(job.ids, job.labels, strict=True):
        if image in done.pool.labels:
            assert label == done.pool.labels[image]
            continue
        regions = x.oracle.regions(store, [image])[image]
        numbers = [n for n in range(len(regions)) if f"{image}/{n}" in done.pool.labels]
        bought = np.any([regions[n].mask() for n in numbers], axis=0)
        np.testing.assert_array_equal(bought, read(x, label) != IGNORE)
        parts += 1

    assert [*job.ids] == [unit for unit in store.pool.ids() if unit in job.ids]
    assert parts > 5 and len(done.pool.labels) >= len(job.ids)


def test_regions_are_bought_until_there_are_none(dense, tmp_path):
    """A run with more budget than regions would train on the same labels again and again, or buy
    one twice; its curve would go on over clicks that nobody made."""
    dataset = dense().dataset.model_copy(update={"limit_pool": 5})
    budget = {"initial": 30, "per_cycle": 60, "total": 10_000, "unit": "clicks"}
    x = dense(dataset=dataset, strategy="random_polygon", **{**CLICKS, "budget": budget})
    done, store = go(x, tmp_path), x.dataset.open()
    everything = x.oracle.costs(store, store.pool.ids()).sum()

    assert everything == done.pool.spent
    assert 5 == len(done.jobs[-1].ids)
    spent = [row["cost"] for row in done.metrics]
    assert sorted({*spent}) == spent and everything == spent[-1]
    assert [False] * (len(spent) - 1) == [pick.sold_out for pick in done.picks]
    Folder(tmp_path).write("experiment.yaml", config.dump(x).encode())
    record = Record(Folder(tmp_path))
    curve = Run.read(record).points
    assert record.complete
    assert [30, *(30 + 60 * n for n in range(1, len(spent) - 1)), everything] == list(curve)


POINTS = [
    "cycle-000/train/checkpoint-*.pt",
    "cycle-000/score/shard-00000.parquet",
    "cycle-000/label/labels.parquet",
    "cycle-001/train/weights.safetensors",
    "cycle-001/evaluate/started.json",
]


@pytest.mark.parametrize(
    "strategy",
    [
        "random_image_entropy_polygon",
        slow("qbc"),
        slow("core_set"),
        slow("epmcm"),
    ],
)
def test_killed_again_and_again(dense, process, tmp_path, strategy):
    """A crash would lose work, buy regions twice, or change what is chosen."""
    x = dense(
        strategy=strategy,
        ensemble=2 if strategy == "qbc" else 1,
        compute=compute(checkpoint_seconds=0),
        **CLICKS,
    )
    assert process(x, tmp_path / "whole").returncode == 0
    for point in POINTS:
        killed = process(x, tmp_path / "killed", point)
        assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.stderr}"
    last = process(x, tmp_path / "killed")

    assert last.returncode == 0, last.stderr
    assert ending(tmp_path / "whole") == ending(tmp_path / "killed")
    assert len(ending(tmp_path / "whole")[0]) == 2
