"""One training of one cycle on one of its workers, apart from where that worker runs.

Engines call `train` on every worker. All read the same folder, worker 0 writes. A training started
again in the same folder continues from its last checkpoint; on a CPU, with as many threads, it ends
with the same bits as if it had never stopped.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import torch
from torch import Tensor, nn

from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.errors import OUT, DataError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models import parallel
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.companions.base import Companions, file_name
from rayal.models.companions.teacher import Teacher
from rayal.models.device import Beside, sent
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights, save_weights
from rayal.randomness import Key, derive, shuffled
from rayal.runs.results import Trained
from rayal.storage.folder import FileLocation, FileRecord, Folder
from rayal.training.base import Batch, Learner
from rayal.training.checkpoint import Checkpoints, state_of
from rayal.training.feed import Feed, UnlabeledFeed
from rayal.training.images import open_images, open_labels

LOG_SECONDS = 2.0  # least time between two writes of epochs.jsonl


@dataclass(frozen=True)
class TrainJob:
    """What one training learns from; small, and picklable for the way to the workers."""

    experiment: Experiment
    cycle: int
    store: str
    ids: tuple[str, ...]
    """Labeled units, in pool order."""
    labels: tuple[LabelValue, ...]
    """Theirs, in the same order."""
    start_from: FileLocation | None
    """Weights to continue from; None draws new ones from (seed, cycle)."""
    out: str
    companions_from: Mapping[str, FileLocation] = field(default_factory=dict)
    """By name, the companions to continue from."""
    member: int = 0
    """Which model of an ensemble; 0 is the one a run without an ensemble trains."""
    most_unlabeled: int | None = None
    """Unlabeled images that it may see: a few, where it is only timed. None: all that its scheme
    wants."""

    @property
    def key(self) -> tuple[Key, ...]:
        """What the training's random numbers are drawn from."""
        member: tuple[Key, ...] = ("member", self.member) if self.member else ()
        return (self.experiment.seed, self.cycle, *member)


@dataclass(frozen=True)
class Worker:
    """Where this worker runs. The caller brings the workers together where `size` is above 1."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    threads: int | None = None
    """Torch threads of this process; null leaves them as they are."""


def train(job: TrainJob, worker: Worker) -> Trained | None:
    """Trains to the end; worker 0 writes the last weights and returns the stage's result.

    Raises DataError when the loss is no longer a number; the checkpoints then stay as they are.
    """
    if worker.threads is not None:
        torch.set_num_threads(worker.threads)
    store = Store(job.store)
    feed, learner = _feed(job, worker, store), _learner(job, worker, store)
    log = TrainingLog(Folder(job.out), job.experiment.compute.checkpoint_seconds)
    log.resume(learner, worker)
    for epoch in range(len(log.rows), feed.epochs):
        parallel.check_same(epoch, "epoch", torch.device(worker.device))
        log.rows.append(_epoch(job, worker, feed, learner, epoch))
        if worker.rank == 0:
            log.write(learner)
    card = job.experiment.card_for(store.card)
    return _finish(log, feed, learner, card) if worker.rank == 0 else None


class TrainingLog:
    """What worker 0 writes of a training as it goes: a row per epoch, and checkpoints."""

    def __init__(self, out: Folder, checkpoint_seconds: float) -> None:
        self.out, self.checkpoints = out, Checkpoints(out)
        self.checkpoint_seconds = checkpoint_seconds
        self.rows: list[dict[str, float]] = []
        self.logged = self.saved = monotonic()

    def resume(self, learner: Learner, worker: Worker) -> None:
        """Puts the learner where the newest whole checkpoint left it; else changes nothing.

        Worker 0 alone looks for it and hands it on: another could see an older listing.
        """
        own = self.checkpoints.newest() if worker.rank == 0 else None
        checkpoint = parallel.first_bytes(own or b"", torch.device(worker.device))
        if checkpoint:
            state = state_of(checkpoint)
            learner.load_state_dict(state["learner"])
            self.rows = state["rows"]

    def write(self, learner: Learner) -> None:
        """Brings `epochs.jsonl` and the checkpoint up to date, where they are old enough."""
        if monotonic() - self.logged >= LOG_SECONDS:
            self.write_rows()
        if monotonic() - self.saved >= self.checkpoint_seconds:
            state = {"learner": learner.state_dict(), "rows": self.rows}
            self.checkpoints.save(len(self.rows), state)
            self.saved = monotonic()

    def write_rows(self) -> FileRecord:
        """Writes `epochs.jsonl` whole."""
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        self.logged = monotonic()
        return self.out.write("epochs.jsonl", lines.encode())


def _feed(job: TrainJob, worker: Worker, store: Store) -> Feed:
    x, spec, device = job.experiment, store.card.image, torch.device(worker.device)
    labels, most = dict(zip(job.ids, job.labels, strict=True)), x.compute.resident_bytes
    return Feed(
        open_images(store.pool, job.ids, spec, device, most),
        open_labels(x.task, labels, store.card, device, most),
        len(job.ids),
        x.scheme,
        spec,
        key=job.key,
        rank=worker.rank,
        workers=worker.size,
        unlabeled=_unlabeled(job, worker, store),
    )


def _unlabeled(job: TrainJob, worker: Worker, store: Store) -> UnlabeledFeed | None:
    x, spec = job.experiment, store.card.image
    wanted = x.scheme.unlabeled(job.cycle)
    if wanted is None:
        return None
    known = {*job.ids, *store.card.bad}
    ids = [unit for unit in store.pool.ids() if unit not in known]
    if not ids:
        return None
    seen = min(wanted.seen(len(ids)), job.most_unlabeled or len(ids))
    if seen < len(ids):
        drawn = {*shuffled(ids, x.seed, job.cycle, "candidates")[:seen]}
        ids = [unit for unit in ids if unit in drawn]
    device = torch.device(worker.device)
    return UnlabeledFeed(
        open_images(store.pool, ids, spec, device, x.compute.resident_bytes),
        len(ids),
        wanted,
        x.scheme.augment,
        spec,
        key=job.key,
        rank=worker.rank,
        workers=worker.size,
        beside=Beside(device, wanted=x.compute.overlap),
    )


def _learner(job: TrainJob, worker: Worker, store: Store) -> Learner:
    x, card, device = job.experiment, store.card, torch.device(worker.device)
    about, classes = x.card_for(card), len(card.classes)
    if job.start_from is None:
        model = build(x.model, classes, card.image, seed=derive(*job.key, "init"))
    else:
        model = TrainedModel.read(job.start_from, about).network()
    built = []
    for spec in x.companions():
        seed = derive(*job.key, "companion", spec.name)
        with _seeded(device, seed):
            companion = spec.build(model, classes, partial(about.untrained, seed))
        if spec.name in job.companions_from:
            load_weights(companion, job.companions_from[spec.name].read())
        built.append((spec, placed(companion, device, x.scheme.precision)))
    model = placed(model, device, x.scheme.precision)
    companions = Companions(built)
    for companion in companions:
        companion.begin(model)
    if x.compute.compile:
        _compile(model, companions)
    learner = x.scheme.start(model, x.task, companions, job.cycle)
    if not isinstance(learner, Learner):
        raise UsageError(
            f"scheme {x.scheme.part_name()!r}: start() returned {type(learner).__name__}; return a"
            " rayal.training.base.Learner"
        )
    learner.beside = Beside(device, wanted=x.compute.overlap)
    return learner


def _compile(model: nn.Module, companions: Companions) -> None:
    """From now on their forward passes are compiled; their weights keep their names."""
    torch.compiler.reset()  # else the trainings of all cycles share a limited number of shapes
    for network in (model, *(each.network for each in companions if isinstance(each, Teacher))):
        network.compile()


def _epoch(
    job: TrainJob, worker: Worker, feed: Feed, learner: Learner, epoch: int
) -> dict[str, float]:
    """One epoch, counted from 0; returns its row of `epochs.jsonl`, the same on all workers."""
    started, seen = monotonic(), Counter[str]()
    sums: dict[str, Tensor] = {}  # on the device: asking for a number would wait for it
    noise = (*job.key, "noise", epoch, worker.rank)  # for dropout
    with _seeded(torch.device(worker.device), *noise):
        for batch in feed.epoch(epoch):
            seen_by_step = batch.labels
            if batch.phase is not None and batch.unlabeled is not None:
                seen_by_step = batch.unlabeled
            size, before = len(seen_by_step), f"{batch.phase}_" if batch.phase else ""
            for noted, mean in _noted(learner, batch).items():
                name = before + noted
                seen[name] += size
                sums[name] = sums.get(name, 0) + mean.double() * size
    images, means = _over_all_workers(seen, sums)
    if not math.isfinite(means["loss"]):
        raise DataError(
            f"loss became {means['loss']} in cycle {job.cycle}, epoch {epoch + 1};"
            f" lower scheme.lr ({job.experiment.scheme.lr}), and use another {OUT}"
        )
    seconds = monotonic() - started
    rate = {"lr": learner.lr, "images_per_second": images / seconds, "seconds": seconds}
    return {"epoch": epoch + 1, **means, **rate}


def _noted(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """What a step is worth plotting by; UsageError where it is not what `Learner.step` says."""
    noted = learner.step(batch)
    scalars = isinstance(noted, dict) and all(
        isinstance(value, Tensor) and value.ndim == 0 for value in noted.values()
    )
    if not (scalars and "loss" in noted):
        raise UsageError(
            f"scheme {learner.scheme.part_name()!r}: step() returned {noted!r:.80}; return a"
            " dictionary of scalar tensors with `loss` among them"
        )
    return noted


def _over_all_workers(
    seen: Mapping[str, int], sums: Mapping[str, Tensor]
) -> tuple[int, dict[str, float]]:
    """Images of the labeled pass on all workers, and the means of what was summed, each over the
    images of the batches that had it."""
    totals = torch.stack(list(sums.values()))
    counts = torch.tensor([seen[name] for name in sums], dtype=totals.dtype)
    totals = torch.stack([totals, sent(counts, totals.device)])
    values, images = parallel.total(totals).cpu().tolist()
    means = {name: v / n for name, v, n in zip(sums, values, images, strict=True)}
    return int(images[list(sums).index("loss")]), means


@contextmanager
def _seeded(device: torch.device, *key: Key) -> Iterator[None]:
    """Torch's global generators seeded by a key for a while, then back where they were."""
    gpus = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(derive(*key))
        if gpus:
            torch.cuda.manual_seed_all(derive(*key))
        yield


def _finish(log: TrainingLog, feed: Feed, learner: Learner, card: ModelCard) -> Trained:
    """Writes the weights of the last epoch; the checkpoints have then done their work."""
    rows, out = log.write_rows(), log.out
    weights = TrainedModel.of(card, learner.model).write(out)
    companions = {
        name: out.write(file_name(name), save_weights(companion))
        for name, companion in learner.companions.named().items()
    }
    log.checkpoints.clear()
    return Trained(
        weights=weights,
        companions=companions,
        log=rows,
        epochs=len(log.rows),
        steps=feed.updates,
        loss=log.rows[-1]["loss"],
        seconds=sum(row["seconds"] for row in log.rows),
    )
