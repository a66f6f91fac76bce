"""A pool that is divided otherwise, and what travels to workers (C)."""

import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rayal.cycle import shard_file
from rayal.cycle.train import TrainJob
from rayal.data import prepare as preparing
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder
from tests.support.whole_runs import ONE_THREAD, chosen, go, outcome, passed, sixty


@pytest.mark.parametrize("strategy", ["cod", "random"])
def test_any_division_of_the_pool_chooses_the_same(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
) -> None:
    """Another number of shards, or another size of row groups, would select others (C01, G11)."""
    found, shards = [], []
    for group in (1, 7, 9, 20, 30, 256):
        monkeypatch.setattr(preparing, "GROUP_ROWS", group)
        out, dataset = tmp_path / str(group), {"store": str(tmp_path / f"stores-{group}")}
        go(sixty(tiny, group, dataset=dataset, strategy=strategy), out)
        folder, done = Folder(out / "cycle-000/score"), passed(out, 0)
        tables = [shard_file.read_shard(folder, file.name) for file in done.shards]
        columns = pa.concat_tables(tables).sort_by("id").select(["id", f"score.{strategy}"])
        found.append((chosen(out), columns.to_pydict()))
        shards.append(len(tables))

    assert [45, 9, 7, 3, 2, 1] == shards
    assert 2 == len(found[0][0])
    for other in found[1:]:
        assert found[0] == other


class Shuffled(LocalEngine):
    """Shards come back in any order."""

    def score(self, job: Any, tasks: Any) -> Iterator[Any]:
        return super().score(job, random.Random(job.cycle).sample(tasks, len(tasks)))


def test_any_order_of_the_shards_chooses_the_same(
    tiny: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results would be joined by position (C02)."""
    monkeypatch.setattr(preparing, "GROUP_ROWS", 10)
    x = sixty(tiny, 10, dataset={"store": str(tmp_path)}, observers=["entropy", "random"])
    go(x, tmp_path / "sorted")
    go(x, tmp_path / "shuffled", engine=Shuffled)

    assert outcome(tmp_path / "sorted") == outcome(tmp_path / "shuffled")


class Packed(LocalEngine):
    """Notes how large jobs are on their way to workers."""

    def train(self, jobs: Any) -> Iterator[Any]:
        (job,) = jobs
        SIZES["train"] = len(pickle.dumps(job))
        SIZES["train 25,000 images"] = len(pickle.dumps(with_labels(job, 25_000)))
        return super().train(jobs)

    def evaluate(self, job: Any) -> Any:
        SIZES["evaluate"] = len(pickle.dumps((job, job.shards())))
        return super().evaluate(job)

    def score(self, job: Any, tasks: Any) -> Iterator[Any]:
        SIZES["score"] = len(pickle.dumps(job))
        SIZES["shard"] = max(len(pickle.dumps(task)) for task in tasks)
        return super().score(job, tasks)


SIZES: dict[str, int] = {}


def with_labels(job: TrainJob, count: int) -> TrainJob:
    ids = tuple(f"train-{n:05d}" for n in range(count))
    return replace(job, ids=ids, labels=tuple(range(count)))


def test_jobs_are_small(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """Images or weights would travel with every task, through Ray's head node (C14)."""
    x = tiny(model={"name": "small_cnn", "width": 32}, observers=["entropy"], compute=ONE_THREAD)
    go(x, tmp_path, engine=Packed)
    weights = (tmp_path / "cycle-000/train/weights.safetensors").stat().st_size

    assert {"train", "train 25,000 images", "evaluate", "score", "shard"} == SIZES.keys()
    assert SIZES.pop("train 25,000 images") < 10**6
    assert max(SIZES.values()) < 10**4 < weights / 50
