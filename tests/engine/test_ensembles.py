"""Ensembles and dropout on Ray: members train side by side, and nothing else changes."""

import hashlib
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rayal.cycle.loop import run
from rayal.cycle.score import ScoreJob, divide, summary
from rayal.engine import capacity, train
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.errors import ClusterError
from rayal.experiment.compute import Compute
from rayal.models.build import build
from rayal.models.weights import save_weights
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from tests.support.doubles import TAUGHT_BY, Silent, small_strategy, strategies_for

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

MODEL = {"name": "small_cnn", "width": 8, "dropout": 0.5}
COMPUTE = {
    "engine": "ray",
    "checkpoint_seconds": 0,
    "shard_rows": 256,
    "cpus_per_worker": 1,
    "scorers": 2,
}
MC = ("mc_dropout_entropy", "bald", "mc_variation_ratio")


@pytest.fixture
def small(tiny):
    """Builds experiments of one or two cycles that need little."""

    def build(**fields):
        return tiny(
            **{
                "dataset": {"name": "digits", "limit_pool": 200, "limit_test": 100},
                "model": MODEL,
                "strategy": "qbc",
                "ensemble": 2,
                "budget": {"initial": 20, "per_cycle": 20, "total": 40},
                "compute": COMPUTE,
                **fields,
            }
        )

    return build


def finish(x, engine: Any, folder: Path):
    """Runs to the end: all labels in order, and what every file of weights and scores holds."""
    with Ledger(Folder(folder), x.identity()) as ledger, closing(engine):
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
    files = [*folder.rglob("weights.safetensors"), *folder.rglob("shard-*.parquet")]
    return list(pool.labels), digests(folder, files)


def digests(folder: Path, files) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def locally(x, folder: Path):
    return finish(x, LocalEngine(x.compute), folder)


def meeting(folder: Path, **options) -> dict[str, Any]:
    folder.mkdir()
    return {"name": "faulty.trains_together", "folder": str(folder), **options}


def processes(folder: Path) -> list[int]:
    """How many trainings each process has done."""
    return sorted(Counter(file.name.split("-")[0] for file in folder.iterdir()).values())


def weights_only(files: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if name.endswith(".safetensors")}


@pytest.mark.slow
def test_members_train_at_once_and_end_as_they_do_alone(small, tmp_path):
    """Two cores would train one member after the other, mix two up, or lose one whose worker is
    killed in the middle."""
    dead, alive = tmp_path / "dead", tmp_path / "alive"
    alive.touch()
    together, alone = (
        small(
            observers=[
                meeting(tmp_path / f"{n} at once", at_once=n),
                {"name": "faulty.dies_training", "marker": str(marker)},
            ],
        )
        for n, marker in ((2, dead), (1, alive))
    )
    labels, files = locally(alone, tmp_path / "local")
    on_ray = finish(together, RayEngine(together.compute, cores=2), tmp_path / "ray")

    assert dead.exists() and on_ray[0] == labels
    assert weights_only(on_ray[1]) == weights_only(files) and len(weights_only(files)) == 4
    assert len(list((tmp_path / "2 at once").iterdir())) == 4


@pytest.mark.slow
def test_one_core_trains_one_member_after_the_other(small, tmp_path):
    """A machine without room would start groups that wait for each other for ever."""
    budget = {"initial": 20, "per_cycle": 20, "total": 20}
    x = small(observers=[meeting(tmp_path / "met")], budget=budget)
    _, files = finish(x, RayEngine(x.compute, cores=1), tmp_path / "ray")

    assert processes(tmp_path / "met") == [2]
    assert len(set(files.values())) == 2


@pytest.mark.slow
def test_a_member_that_fails_leaves_nothing_behind(small, tmp_path, monkeypatch):
    """The wait for another member would outlive the run: the program would hang at its end, or ask
    Ray after it was shut down, which starts it again."""
    monkeypatch.setattr(train, "CLOSE_SECONDS", 0.1)
    x = small(observers=[meeting(tmp_path / "met", at_once=2, fails=True)])
    engine = RayEngine(x.compute, cores=2)
    try:
        with pytest.raises(ClusterError, match="a worker raised ArithmeticError: the first one"):
            finish(x, engine, tmp_path / "ray")

        names = [thread.name for thread in threading.enumerate()]
        assert not any(name.startswith("rayal-member") for name in names)
    finally:
        (tmp_path / "met" / "released").touch()


def teaches(strategy: Strategy) -> bool:
    """Whether it cannot observe, or asks for what this file does not make."""
    return bool(strategy.fits()) or any(c.changes_training for c in strategy.companions())


@pytest.mark.slow
def test_any_number_of_actors_writes_the_same_files(small, tmp_path):
    """Scores, members or noise would depend on the worker that a unit comes to (G11)."""
    untaught = {"qbc", *TAUGHT_BY}
    observers = [
        name
        for name in strategies_for("classification")
        if name not in untaught and not teaches(small_strategy(name))
    ]
    x = small(dataset={"name": "digits", "limit_pool": 600}, observers=observers)
    store = x.dataset.open()
    shape = len(store.card.classes), store.card.image
    networks = {f"{n}.safetensors": build(x.model, *shape, seed=n) for n in range(3)}
    folder = Folder(tmp_path)
    model, *members = (
        FileLocation(folder.url, folder.write(name, save_weights(network)))
        for name, network in networks.items()
    )
    companions = {
        spec.name: spec.build(
            networks["0.safetensors"], shape[0], lambda: build(x.model, *shape, 3)
        )
        for spec in x.companions()
    }
    beside = {
        name: FileLocation(folder.url, folder.write(name, save_weights(companion)))
        for name, companion in companions.items()
    }
    assert {"teacher", "class_statistics"} == beside.keys()
    tasks = divide(store.pool, store.pool.ids(), x.compute.shard_rows)

    def scored(engine, out: Path) -> dict[str, str]:
        job = ScoreJob.of(
            x,
            store,
            1,
            model,
            Folder(out).url,
            previous=members[0],
            members=tuple(members),
            companions=beside,
        )
        assert summary(job, tasks, list(engine.score(job, tasks))).units == 600
        return digests(out, out.iterdir())

    expected = scored(LocalEngine(x.compute), tmp_path / "local")
    assert len(set(expected.values())) == len(tasks) == 3
    for actors in (1, 3):
        compute = x.compute.model_copy(update={"scorers": actors})
        assert scored(RayEngine(compute, cores=8), tmp_path / f"{actors}") == expected


@pytest.mark.parametrize(
    ("compute", "nodes", "cores", "expected"),
    [
        ({"cpus_per_worker": 1}, [{"CPU": 6.0}], 2, 2),  # of rayal's own: it promises 2 * 2 + 2
        ({"cpus_per_worker": 2}, [{"CPU": 6.0}], 2, 1),
        ({"cpus_per_worker": 4}, [{"CPU": 6.0}], 2, 1),
        ({"cpus_per_worker": 5}, [{"CPU": 8.0}] * 2, 16, 2),  # 3 fit the sum, not the nodes
        ({"cpus_per_worker": 2, "train_workers": 3}, [{"CPU": 8.0}] * 2, 16, 2),
        ({"device": "cuda", "cpus_per_worker": 1}, [{"CPU": 8.0, "GPU": 4.0}], 8, 4),
        ({"device": "cuda", "cpus_per_worker": 4}, [{"CPU": 8.0, "GPU": 4.0}], 8, 2),
        ({"device": "cuda", "train_workers": 3}, [{"CPU": 8.0, "GPU": 4.0}], 8, 1),
    ],
)
def test_as_many_at_once_as_nodes_have_room_for(compute, nodes, cores, expected):
    """A group without room waits for a quarter of an hour, and then ends the run."""
    assert capacity.at_once(Compute(**compute), nodes, cores) == expected
