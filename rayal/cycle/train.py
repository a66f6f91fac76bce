"""One training of one cycle on one of its workers, apart from where that worker runs.

Engines call `train` on every worker. All read the same folder, worker 0 writes. A training started
again in the same folder continues from its last checkpoint; on a CPU, with as many threads, it ends
with the same bits as if it had never stopped.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from time import monotonic

import torch
from torch import Tensor, nn

from rayal.cycle.candidates import of_test
from rayal.cycle.judged import HeldOut, Judged
from rayal.cycle.rounds import Means, RoundLog, Worker, seeded
from rayal.data.card import MeanStd
from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.errors import OUT, DataError, UsageError, counted
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.companions.base import Companions, file_name
from rayal.models.companions.teacher import Teacher
from rayal.models.device import Beside
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights, save_weights
from rayal.randomness import Key, derive, shuffled
from rayal.runs.results import Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.base import Batch
from rayal.training.feed import LEAST, Feed, UnlabeledFeed
from rayal.training.images import Items, open_images, open_labels
from rayal.training.learner import Learner

logger = logging.getLogger(__name__)


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
    statistics: MeanStd | None = None
    """What images are normalised by; None: as the store says."""
    bought: tuple[int, ...] = ()
    """In which cycle each unit was, -1 for the first ones; (): all at once."""

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """The labeled units that judge the training in place of being trained on."""
        x, stopping = self.experiment, self.experiment.scheme.early_stopping
        if stopping is None:
            return ()
        classes = [int(label) for label in self.labels]  # masks are refused
        bought = self.bought or (0,) * len(self.ids)
        least = LEAST * x.compute.train_workers
        held = stopping.held_out(self.ids, classes, bought, x.seed, least)
        return tuple(unit for unit in self.ids if unit in held)

    @property
    def key(self) -> tuple[Key, ...]:
        """What the training's random numbers are drawn from."""
        member: tuple[Key, ...] = ("member", self.member) if self.member else ()
        return (self.experiment.seed, self.cycle, *member)

    def run(self, worker: Worker) -> Trained | None:
        """`train`."""
        return train(self, worker)


def train(job: TrainJob, worker: Worker) -> Trained | None:
    """Trains to the end; worker 0 writes the last weights and returns the stage's result.

    Raises DataError when the loss is no longer a number; the checkpoints then stay as they are.
    """
    if worker.threads is not None:
        torch.set_num_threads(worker.threads)
    store = Store(job.store, job.statistics)
    feed, learner = _feed(job, worker, store), _learner(job, worker, store)
    log = RoundLog(Folder(job.out), "epochs.jsonl", job.experiment.compute.checkpoint_seconds)
    work = partial(_epoch, job, worker, feed, learner)
    if (judged := _judged(job, worker, store, learner)) is None:
        log.complete(learner, worker, feed.epochs, work)
    else:
        log.complete(
            judged, worker, feed.epochs, partial(judged.epoch, worker, work), judged.is_over
        )
        judged.end()
    if worker.rank > 0:
        return None
    card, best = job.experiment.card_for(store.card), judged.best if judged else 0
    return _finish(log, feed, learner, card, best).model_copy(update={"held_out": job.held_out})


def _judged(job: TrainJob, worker: Worker, store: Store, learner: Learner) -> Judged | None:
    """The training with what judges it, where its scheme wants that and labels are left for it."""
    stopping = job.experiment.scheme.early_stopping
    if stopping is None:
        return None
    if not job.held_out:
        if worker.rank == 0:
            logger.warning(
                "scheme.early_stopping: %s of cycle %d are too few to hold %g of them out; this"
                " training takes its whole length",
                *(counted(len(job.ids), "label"), job.cycle, stopping.share),
            )
        return None
    images, labels = _opened(job, job.held_out, worker, store)
    held = HeldOut(images, labels, len(job.held_out), store.card.image)
    return Judged(learner, stopping, held)


def _opened(job: TrainJob, ids: Sequence[str], worker: Worker, store: Store) -> tuple[Items, Items]:
    """Images and labels of some of the labeled units."""
    x, card, device = job.experiment, store.card, torch.device(worker.device)
    known, most = dict(zip(job.ids, job.labels, strict=True)), x.compute.resident_bytes
    images = open_images(store.pool, ids, card.image, device, most)
    return images, open_labels(x.task, {unit: known[unit] for unit in ids}, card, device, most)


def _feed(job: TrainJob, worker: Worker, store: Store) -> Feed:
    held = {*job.held_out}
    shown = [unit for unit in job.ids if unit not in held]
    images, labels = _opened(job, shown, worker, store)
    return Feed(
        images,
        labels,
        len(shown),
        job.experiment.scheme,
        store.card.image,
        key=job.key,
        rank=worker.rank,
        workers=worker.size,
        unlabeled=_unlabeled(job, worker, store),
        most=job.experiment.compute.resident_bytes,
    )


def _unlabeled(job: TrainJob, worker: Worker, store: Store) -> UnlabeledFeed | None:
    x, spec = job.experiment, store.card.image
    wanted = x.scheme.unlabeled(job.cycle)
    if wanted is None:
        return None
    left_out = {*store.card.bad, *of_test(x, store), *(() if wanted.labeled_too else job.ids)}
    ids = [unit for unit in store.pool.ids() if unit not in left_out]
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
        with seeded(device, seed):
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
            " rayal.Learner"
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
    started, sums = monotonic(), Means()
    noise = (*job.key, "noise", epoch, worker.rank)  # for dropout
    with seeded(torch.device(worker.device), *noise):
        for batch in feed.epoch(epoch):
            of_phase = batch.unlabeled if batch.phase else None
            count = len(batch.labels if of_phase is None else of_phase)
            before = f"{batch.phase}_" if batch.phase else ""
            noted = _noted(learner, batch).items()
            sums.add({before + name: mean for name, mean in noted}, count)
    images, means = sums.of_all_workers()
    _check_finite(job, epoch, means["loss"])
    seconds = monotonic() - started
    rate = {"lr": learner.lr, "images_per_second": images / seconds, "seconds": seconds}
    return {"epoch": epoch + 1, **means, **rate}


def _check_finite(job: TrainJob, epoch: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise DataError(
            f"loss became {loss} in cycle {job.cycle}, epoch {epoch + 1};"
            f" lower scheme.lr ({job.experiment.scheme.lr}), and use another {OUT}"
        )


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


def _finish(log: RoundLog, feed: Feed, learner: Learner, card: ModelCard, best: int = 0) -> Trained:
    """Writes what the training has come to, in its last epoch or the `best`, counted from 1; the
    checkpoints have then done their work."""
    rows, out = log.write_rows(), log.out
    for companion in learner.companions:
        companion.end(learner.model)
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
        steps=feed.updates(len(log.rows)),
        loss=log.rows[best - 1]["loss"],
        seconds=sum(row["seconds"] for row in log.rows),
        best=best,
    )
