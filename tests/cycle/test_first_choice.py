"""The first units that a strategy chooses: by hand, by plain code, and as often as it is killed.

N units, D features.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import rayal
from rayal.cycle.first_choice import choose_first
from rayal.cycle.shared_training import SharedTraining
from rayal.engine.local import LocalEngine
from rayal.errors import LabelsPending, LockedError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.randomness import derive
from rayal.report.status import status_rows
from rayal.runs.record import Record
from rayal.runs.result_files import read_result
from rayal.runs.results import FirstChosen, Initial
from rayal.storage.folder import Folder
from rayal.training.augment import normalise
from rayal.workflows.plan import make
from tests.support import scenes
from tests.support.doubles import Silent
from tests.support.people import answer, truthful
from tests.support.whole_runs import (
    FinishedRuns,
    Interrupted,
    chosen,
    files_of,
    go,
    outcome,
    short,
    stopped_at,
)

Matrix = NDArray[np.float64]


def alone(x: Experiment, out: Path) -> list[str]:
    """The first units, without a run around them."""
    engine, folder = LocalEngine(x.compute), Folder(out)
    return list(choose_first(x, x.dataset.open(), engine, lambda done, total: None, folder).ids)


def first_of(out: Path) -> list[str]:
    """What a run has chosen before its first training."""
    return list(read_result(FirstChosen, Folder(out / "cycle-000" / "first")).ids)


def of_vectors(root: Path, points: NDArray[Any]) -> dict[str, Any]:
    """A dataset of these vectors, N D, called a, b, c, ..., as they are."""
    width = points.shape[1]
    names = np.array([chr(ord("a") + place) for place in range(len(points))])
    labels = np.arange(len(points)) % 2
    for name, ids in (("pool", names), ("test", np.char.add("test-", names))):
        features = points.astype(np.float16)
        np.savez(root / f"{name}.npz", id=ids, features=features, label=labels)
    moments = {"mean": [0.0] * width, "std": [1.0] * width}
    return {
        **{"name": "features", "root": str(root), "pool": "pool.npz", "test": "test.npz"},
        **moments,
    }


def on_vectors(dataset: dict[str, Any], **fields: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "first",
            "dataset": dataset,
            "model": "linear_head",
            "scheme": {"epochs": 1, "batch_size": 4},
            "strategy": "random",
            "budget": {"initial": 3, "per_cycle": 1, "total": 4},
            "compute": {"engine": "local", "cpus_per_worker": 1},
            "tracking": "none",
            **fields,
        }
    )


FIVE = np.array([[0, 0], [10, 0], [0, 6], [4, 2], [9, 1]])
"""Their mean is (4.6, 1.8): d is nearest. From d the farthest is b (6.3); from both c (5.7), then a
(4.5), then e (1.4)."""


@pytest.mark.parametrize("model", ["linear_head", "mlp_head"])
def test_core_set_by_hand(tmp_path: Path, model: str) -> None:
    """The first units would be those of a network's chance, not of the vectors."""
    dataset = of_vectors(tmp_path, FIVE)
    x = on_vectors(dataset, first="core_set", model=model)
    go(x, tmp_path / "run")
    record = Record(Folder(tmp_path / "run"))

    assert ["d", "b", "c"] == first_of(tmp_path / "run") == alone(x, tmp_path / "alone")
    assert record.initial() == {"d", "b", "c"} and record.complete
    four = {"initial": 4, "per_cycle": 1, "total": 5}
    assert [*"dbca"] == alone(on_vectors(dataset, first="core_set", budget=four), tmp_path / "b")


def test_a_head_that_memorises_begins_too(tmp_path: Path) -> None:
    """It has nothing to answer from before its first labels, and need not answer."""
    fields = {"model": "knn_head", "scheme": "memorise"}
    x = on_vectors(of_vectors(tmp_path, FIVE), first="core_set", **fields)

    assert ["d", "b", "c"] == alone(x, tmp_path / "out")


def plain_core_set(features: Matrix, count: int) -> list[int]:
    """k-center greedy as it is written down: every distance to every centre, each time."""
    picks = [int(np.linalg.norm(features - features.mean(axis=0), axis=1).argmin())]
    while len(picks) < count:
        apart = np.linalg.norm(features[:, None] - features[None, picks], axis=2).min(axis=1)
        picks.append(int(apart.argmax()))
    return picks


@pytest.mark.parametrize("seed", [0, 5])
def test_core_set_as_plain_code_on_the_untrained_network(
    tiny: Callable[..., Experiment], tmp_path: Path, seed: int
) -> None:
    """It would look with other weights than those that the seed's first training begins with."""
    x = short(tiny, first="core_set", seed=seed)
    store = x.dataset.open()
    network = build(x.model, 10, store.card.image, derive(seed, 0, "init")).eval()
    images = torch.from_numpy(store.pool.decode(store.pool.take(store.pool.ids())).images)
    with torch.no_grad():
        features = network(normalise(images, store.card.image)).features.half().double().numpy()
    expected = [store.pool.ids()[place] for place in plain_core_set(features, 20)]

    assert expected == alone(x, tmp_path)


def blobs(rng: np.random.Generator) -> Matrix:
    """Of 20 units each, around the corners of a triangle."""
    return np.repeat([[40.0, 0], [0, 40], [-40, -40]], 20, axis=0) + rng.normal(size=(60, 2))


def test_typiclust_takes_the_most_typical_of_each_blob(tmp_path: Path) -> None:
    """The claim of its paper is the first units; it would have to do with a label."""
    points = blobs(np.random.default_rng(1)).astype(np.float16).astype(np.float64)
    x = on_vectors(of_vectors(tmp_path, points), first={"name": "typiclust", "normalise": False})
    expected = set()
    for start in (0, 20, 40):
        blob = points[start : start + 20]
        apart = np.sort(np.linalg.norm(blob[:, None] - blob[None], axis=2), axis=1)
        typical = apart[:, 1:11].mean(axis=1).argmin()  # half of the blob, less itself
        expected.add(chr(ord("a") + start + int(typical)))

    assert expected == set(alone(x, tmp_path / "out"))


def test_prob_cover_takes_the_largest_ball(tmp_path: Path) -> None:
    """Of units that nothing covers yet, each covers the most."""
    points = blobs(np.random.default_rng(2))[:35]
    covers = {"name": "prob_cover", "normalise": False, "radius": 1.0}
    x = on_vectors(of_vectors(tmp_path, points), first=covers)
    near = points.astype(np.float16).astype(np.float64)
    within = np.linalg.norm(near[:, None] - near[None], axis=2) <= 1.0
    gains = []
    for unit in alone(x, tmp_path / "out"):
        place = ord(unit) - ord("a")
        gains.append((within[place].sum(), within.sum(axis=1).max()))
        within[:, within[place]] = False

    assert all(gain == most for gain, most in gains)


def test_what_comes_after_does_not_change_it(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Strategies of one seed would begin apart, and their comparison would mean nothing."""
    others: list[dict[str, Any]] = [
        {"strategy": "entropy"},
        {"strategy": "margin", "guards": {"min_distance": 0.5, "per_class": 4}},
        {"observers": ["core_set", "badge"], "start": "cold"},
        {"ensemble": 2, "scheme": {"epochs": 9}},
        {"compute": {"engine": "local", "shard_rows": 100, "cpus_per_worker": 1}},
    ]
    found = [
        alone(short(tiny, first="core_set", **fields), tmp_path / f"{place}")
        for place, fields in enumerate(others)
    ]

    assert 20 == len({*found[0]}) and [found[0]] * len(others) == found
    assert found[0] != alone(short(tiny, first="core_set", seed=1), tmp_path / "seed")


def test_weights_that_there_are_look(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A self-supervised encoder would be asked for nothing, which the cold start is about."""
    plain = short(tiny)
    store = plain.dataset.open()
    folder = Folder(tmp_path / "weights")
    network = build(plain.model, 10, store.card.image, seed=77)
    record = TrainedModel.of(plain.card_for(store.card), network).write(folder)
    model = {"name": "small_cnn", "width": 8, "pretrained": f"{folder.url}/{record.name}"}
    seeds = [
        alone(short(tiny, first="core_set", model=model, seed=n), tmp_path / f"{n}") for n in (0, 1)
    ]

    assert seeds[0] == seeds[1] != alone(short(tiny, first="core_set"), tmp_path / "random")


class Counting(LocalEngine):
    """Counts the shards that it scores in each pass."""

    def __init__(self, compute: Any) -> None:
        super().__init__(compute)
        self.done: list[int] = []

    def score(self, job: Any, tasks: Any) -> Any:
        self.done.append(len(tasks))
        return super().score(job, tasks)


def small(tiny: Callable[..., Experiment], **fields: Any) -> Experiment:
    """A pool of two shards, and two cycles."""
    return short(
        tiny,
        **{
            "first": "core_set",
            "strategy": "margin",
            "scheme": {"epochs": 1, "batch_size": 16},
            "budget": {"initial": 15, "per_cycle": 15, "total": 30},
            **fields,
        },
    )


POINTS = (
    "*/first/untrained.safetensors",
    "*/first/shard-00001.parquet",
    "*/first/chosen.csv",
    "removed */first/untrained.safetensors",
    "*/first/done.json",
    "*/initial/labels.parquet",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_was_killed_there_ends_as_if_it_was_not(
    tiny: Callable[..., Experiment],
    process: Any,
    finished: FinishedRuns,
    tmp_path: Path,
    point: str,
) -> None:
    """Other first units would be bought, or the pass done twice."""
    x = small(tiny)
    whole = finished(x)
    killed = process(x, tmp_path / "killed", point)
    assert killed.returncode == -9, killed.stderr
    folder = tmp_path / "killed" / "cycle-000" / "first"
    there = {file: file.stat().st_mtime_ns for file in folder.glob("shard-*")}
    go(x, tmp_path / "killed")

    assert outcome(whole) == outcome(tmp_path / "killed")
    assert first_of(whole) == first_of(tmp_path / "killed")
    assert there == {file: file.stat().st_mtime_ns for file in there}
    assert not (folder / "untrained.safetensors").exists()


def test_people_are_waited_for_without_a_second_look(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Every command of a run that waits would look at the pool again, or ask for other units."""
    x, out, told = small(tiny, oracle="people"), tmp_path / "run", list[str]()
    engines = list[Counting]()

    def started(compute: Any) -> Counting:
        engines.append(Counting(compute))
        return engines[-1]

    for _ in range(3):
        with pytest.raises(LabelsPending):
            go(x, out, engine=started)  # type: ignore[arg-type]
        told.append(",".join(rayal.open_run(out).record.request()[2].asked or ()))
    with pytest.raises(LabelsPending):
        answer(out, truthful(x))
        go(x, out, engine=started)  # type: ignore[arg-type]

    assert [told[0]] * 3 == told == [",".join(first_of(out))] * 3
    assert [[2], [2]] == [engine.done for engine in engines]  # of `first`, then of cycle 0


def test_trials_of_a_sweep_share_the_training_after_it(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Each arm would train its first model anew."""
    for strategy in ("random", "margin"):
        x = small(tiny, strategy=strategy)

        def shares(compute: Any) -> Any:
            return SharedTraining(LocalEngine(compute), Folder(tmp_path / "shared"))

        go(x, tmp_path / strategy, engine=shares)  # type: ignore[arg-type]
    shared = [tmp_path / name / "cycle-000/train/shared.json" for name in ("random", "margin")]

    assert [False, True] == [file.exists() for file in shared]
    assert first_of(tmp_path / "random") == first_of(tmp_path / "margin")


def test_random_is_as_it_ever_was(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Runs that were begun before there was a choice would not go on."""
    x = small(tiny, first="random", strategy="random")
    go(x, tmp_path)

    assert "first" not in x.identity() and not (tmp_path / "cycle-000" / "first").exists()
    assert x == small(tiny, first={"name": "random"}, strategy="random")


def test_a_run_is_tied_to_it(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Another choice would be taken for the same run; so would another file of features."""
    go(small(tiny), tmp_path / "run")
    with pytest.raises(LockedError, match=r"first\.normalise: false -> true"):
        go(small(tiny, first={"name": "core_set", "normalise": True}), tmp_path / "run")
    file = tmp_path / "features.npz"
    digests = []
    for shift in (0, 1):
        ids = small(tiny).dataset.open().pool.ids()
        rows = np.random.default_rng(shift).normal(size=(300, 3)).astype(np.float16)
        np.savez(file, ids=np.array(ids), features=rows)
        x = small(tiny, first={"name": "typiclust", "features": str(file)})
        digests.append(x.identity()["first"]["features"])
        assert 15 == len(alone(x, tmp_path / f"{shift}"))

    assert digests[0] != digests[1]


def test_it_looks_at_as_many_as_a_cycle_does(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A pool of millions would be looked at whole."""
    x = small(tiny, candidates=30)
    ids = alone(x, tmp_path / "a")
    shards = (tmp_path / "a").glob("shard-*")
    seen = [unit for file in shards for unit in pq.read_table(file)["id"].to_pylist()]

    assert (30, 15) == (len({*seen}), len({*ids})) and {*ids} < {*seen}
    assert {*ids} != {*alone(small(tiny, candidates=30, seed=1), tmp_path / "b")}


def test_what_it_costs_is_paid(tmp_path: Path) -> None:
    """Dear images would be bought as if they cost one."""
    root = scenes.write(tmp_path / "scenes", pool=8, test=2)
    camvid = {"name": "camvid", "root": str(root)}
    fields: dict[str, Any] = {
        **{"task": "segmentation", "model": "small_segmenter", "first": "core_set"},
        "oracle": {"name": "clicks", "tolerance": 2},
    }
    budget = {"initial": 60, "per_cycle": 50, "total": 150, "unit": "clicks"}
    x = on_vectors(camvid, **fields, budget=budget)
    store = x.dataset.open()
    ids = alone(x, tmp_path / "a")
    costs = x.oracle.costs(store, store.pool.ids())
    paid = x.oracle.costs(store, ids)

    assert 0 < len(ids) < len(store.pool.ids()) and paid.sum() <= 60 < paid.sum() + costs.max()
    poor = on_vectors(camvid, **fields, budget={**budget, "initial": 1})
    with pytest.raises(UsageError, match="1 clicks do not buy the first image that core_set"):
        alone(poor, tmp_path / "b")


@pytest.mark.parametrize(("keep", "stays"), [("all", 2), ("last", 0), ("none", 0)])
def test_what_it_was_chosen_by_goes_when_newer_is_there(
    tiny: Callable[..., Experiment], tmp_path: Path, keep: str, stays: int
) -> None:
    """A sweep would keep a pass for each trial for ever; a plan would count other files."""
    x = small(tiny, keep={"shards": keep})
    go(x, tmp_path / "run")
    left = [*(tmp_path / "run/cycle-000/first").glob("shard-*")]
    plan = make(x, x.dataset.open(), probe=False)
    usual = small(tiny, first="random", keep={"shards": keep})
    without = make(usual, x.dataset.open(), probe=False)

    assert stays == len(left) and Record(Folder(tmp_path / "run")).complete
    own = sum(name.startswith("cycle-000/first/") for name in files_of(tmp_path / "run"))
    assert own == plan.files - without.files
    assert "core_set chooses 15 of 300 candidates, before any training" in str(plan)
    before = outcome(tmp_path / "run")
    go(x, tmp_path / "run")
    assert before == outcome(tmp_path / "run")


def test_pruning_afterwards(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """`rayal prune` would leave it, or take it from a run that still reads it."""
    x = small(tiny)
    go(x, tmp_path)
    rayal.prune(tmp_path, shards="last")

    assert not [*(tmp_path / "cycle-000/first").glob("shard-*")]
    assert Record(Folder(tmp_path)).complete and 15 == len(first_of(tmp_path))


def test_a_stage_that_is_gone_is_missed_and_done_again(
    tiny: Callable[..., Experiment], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run without it would be complete, and nobody could say where its first units are from."""
    x = small(tiny)
    go(x, tmp_path)
    before = outcome(tmp_path)
    for file in (folder := tmp_path / "cycle-000" / "first").iterdir():
        file.unlink()
    folder.rmdir()
    assert not Record(Folder(tmp_path)).complete
    go(x, tmp_path)

    assert before == outcome(tmp_path) and Record(Folder(tmp_path)).complete
    assert "first is missing although" in caplog.text


def test_status_says_where_it_is(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A pass over a large pool would look like a run that has not begun."""

    class Dies(Silent):
        def further(self, done: int, total: int) -> None:
            if done == 1:
                raise Interrupted

    with pytest.raises(Interrupted):
        go(small(tiny), tmp_path, Dies())
    (row,) = status_rows([str(tmp_path)])

    assert (0, "first") == (row["cycle"], row["stage"])
    stopped_at(small(tiny), tmp_path, 0, "initial")
    assert 15 == len(first_of(tmp_path)) and not chosen(tmp_path)
    assert Record(Folder(tmp_path)).result(0, Initial) is None


def test_other_threads_do_not_go_on_in_the_middle(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Half of the features would have other last bits, and other units be first; once these are
    chosen, random purchases ask no model."""

    class Dies(Silent):
        def further(self, done: int, total: int) -> None:
            if done == 1:
                raise Interrupted

    x = small(tiny, strategy="random")
    two = small(tiny, strategy="random", compute={**dict(x.compute), "cpus_per_worker": 2})
    with pytest.raises(Interrupted):
        go(x, tmp_path, Dies())
    with pytest.raises(LockedError, match="set compute.cpus_per_worker=1"):
        go(two, tmp_path)
    stopped_at(x, tmp_path, 0, "initial")
    go(two, tmp_path)

    assert Record(Folder(tmp_path)).complete


def test_images_that_cannot_be_read(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Money would be spent on an image that nobody can look at."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(40):
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(data, "PNG")
        images.append(data.getvalue())
    images[7] = images[7][:200]
    for name, rows in (("pool", images), ("test", images[:4])):
        ids = [f"{name}-{place:02d}" for place in range(len(rows))]
        table = {"id": ids, "image": rows, "label": [place % 2 for place in range(len(rows))]}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    files = {"root": str(tmp_path), "pool": ["pool.parquet"], "test": ["test.parquet"]}
    dataset = {"name": "parquet", **files, "size": 16, "encoding": "bytes"}
    budget = {"initial": 39, "per_cycle": 1, "total": 39}
    x = short(tiny, first="core_set", dataset=dataset, budget=budget)

    assert {f"pool-{place:02d}" for place in range(40) if place != 7} == {*alone(x, tmp_path / "a")}
