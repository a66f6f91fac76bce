"""First trainings that several trials of a sweep have in common, done once.

A training is known by all that determines it: data, labeled units and labels, model, task, scheme,
companions, seed, device, threads, versions, the source of plugins. Only first cycles are kept:
later ones have units of their own.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

import rayal
from rayal.cycle.engine import Engine
from rayal.cycle.evaluate import EvaluateJob, Outcome
from rayal.cycle.fit import FitJob
from rayal.cycle.lots import Machines, Whole
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.train import TrainJob
from rayal.data.store import Store
from rayal.errors import LockedError
from rayal.experiment.sources import plugin_sources
from rayal.runs.passes import FastestBatch, ScoredShard
from rayal.runs.result_files import TRAINED, read_trained, write_trained
from rayal.runs.results import Fit, Trained
from rayal.selection.progress import Progress
from rayal.storage.folder import Folder
from rayal.storage.lock import FILE, STALE, Lock, seconds_since

SHARED = "shared.json"
"""In a train stage that took over another trial's training: which one."""
LOOK_SECONDS = 0.5  # between looks at a training that another trial is at


class SharedTraining:
    """An engine that trains what no other trial of the sweep has trained yet."""

    def __init__(self, engine: Engine, kept: Folder) -> None:
        """`kept`: the folder of the sweep's shared trainings, the same for all its trials."""
        self.engine, self.kept = engine, kept
        self.device, self.threads = engine.device, engine.threads

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Trained]]:
        rest = []
        for index, job in enumerate(jobs):
            if job.cycle == 0 and job.start_from is None and job.statistics is None:
                yield index, self._train_once(job)
            else:
                rest.append(index)
        for position, result in self.engine.train([jobs[index] for index in rest]):
            yield rest[position], result

    def fit(self, jobs: Sequence[FitJob]) -> Iterator[tuple[int, Fit]]:
        return self.engine.fit(jobs)

    def evaluate(self, job: EvaluateJob) -> Outcome:
        return self.engine.evaluate(job)

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[ScoredShard]:
        return self.engine.score(job, tasks)

    def fastest_batch(self, job: ScoreJob, limit: int, images: int) -> FastestBatch:
        return self.engine.fastest_batch(job, limit, images)

    def holds(self, size: int) -> bool:
        return self.engine.holds(size)

    def has_room(self, whole: Whole) -> bool:
        return self.engine.has_room(whole)

    def hold(self, whole: Whole, progress: Progress) -> AbstractContextManager[Machines]:
        return self.engine.hold(whole, progress)

    def close(self) -> None:
        self.engine.close()

    def _train_once(self, job: TrainJob) -> Trained:
        name = key(job, self.device, self.threads)
        kept, out = self.kept / name, Folder(job.out)
        while not kept.exists(TRAINED):
            lock = Lock(kept)
            try:
                lock.acquire()
            except LockedError:
                if _is_abandoned(kept):
                    return self._train(job)
                time.sleep(LOOK_SECONDS)
                continue
            try:
                if not kept.exists(TRAINED):  # else another trial finished it while this one waited
                    trained = self._train(job)
                    _copy(out, kept, trained)
                    write_trained(kept, trained)
                    return trained
            finally:
                lock.release()
        result = read_trained(kept)
        assert result is not None, "it is there"
        _copy(kept, out, result)
        out.write_json(SHARED, {"training": name})
        return result

    def _train(self, job: TrainJob) -> Trained:
        ((_, result),) = self.engine.train([job])
        return result


def key(job: TrainJob, device: str, threads: int) -> str:
    """The sha256 of all that determines a first training on this device, with so many threads."""
    x = job.experiment
    identity = x.identity()
    companions = {
        spec.name: [type(spec).__qualname__, spec.model_dump(mode="json")]
        for spec in x.companions()
    }
    determines: dict[str, Any] = {
        "data": Store(job.store).card.fingerprint,
        "ids": job.ids,
        "labels": [each.hex() if isinstance(each, bytes) else each for each in job.labels],
        **{part: identity[part] for part in ("model", "task", "scheme")},
        **{part: identity[part] for part in ("compute.compile",) if part in identity},
        "companions": companions,
        "random": list(job.key),
        "store": Store(job.store).card.decides(),
        "device": device,
        "workers": [x.compute.train_workers, threads],
        "versions": [rayal.__version__, torch.__version__],
        "plugins": plugin_sources(x),
    }
    return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()


def _copy(source: Folder, target: Folder, result: Trained) -> None:
    """The files that a training's result names, checked, and its epochs."""
    for file in (result.weights, *result.companions.values()):
        target.write(file.name, source.read(file.name, file))
    target.write("epochs.jsonl", source.read("epochs.jsonl", result.log))


def _is_abandoned(kept: Folder) -> bool:
    """Whether whoever trains there has given no sign of life for long, on another machine."""
    holder = kept.read_sealed(FILE, default=None)
    return holder is not None and seconds_since(holder["heartbeat"]) > STALE
