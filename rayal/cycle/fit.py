"""One fit of one cycle on one of its workers, apart from where that worker runs.

Engines call `fit` on every worker, as they call `train`: all read the same folder, worker 0 writes,
and a fit that is started again in the same folder continues from its last checkpoint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

import torch

from rayal.cycle.candidates import candidates
from rayal.cycle.rounds import Means, RoundLog, Worker, seeded
from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.errors import OUT, DataError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.companions.base import Companion, Companions, Spec, file_name
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import load_weights, save_weights
from rayal.randomness import Key, derive
from rayal.runs.result_files import FIT_ROWS
from rayal.runs.results import Fit
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.fits.base import FitBatch, FitSpec, Fitting, Scene
from rayal.training.fits.feed import AllImages, FitFeed
from rayal.training.images import open_images, open_labels

ROUND = 10
"""Steps between two looks at the loss and the clock."""


@dataclass(frozen=True)
class FitJob:
    """What one fit learns from; small, and picklable for the way to the workers."""

    experiment: Experiment
    cycle: int
    store: str
    labels: Mapping[str, LabelValue]
    """Of the labeled images, by id."""
    known: frozenset[str]
    """Units that are bought already, or were refused: they decide which images are candidates."""
    weights: FileLocation
    """Of the model."""
    companions: Mapping[str, FileLocation]
    """By name, what lived beside the model in training."""
    out: str
    name: str
    """Of the spec, one of the experiment's `fits`."""
    steps: int | None = None
    """How many to take; None: as many as the spec says."""

    @property
    def spec(self) -> FitSpec:
        """What is fitted."""
        return next(spec for spec in self.experiment.fits() if spec.name == self.name)

    @property
    def key(self) -> tuple[Key, ...]:
        """What the fit's random numbers are drawn from."""
        return (self.experiment.seed, self.cycle, "fit", self.name)

    def run(self, worker: Worker) -> Fit | None:
        """`fit`."""
        return fit(self, worker)


def fit(job: FitJob, worker: Worker) -> Fit | None:
    """Fits to the end; worker 0 writes the companion and returns the result.

    Raises DataError when the loss is no longer a number; the checkpoints then stay as they are.
    """
    if worker.threads is not None:
        torch.set_num_threads(worker.threads)
    work = _Work(job, worker)
    log = RoundLog(Folder(job.out), FIT_ROWS, job.experiment.compute.checkpoint_seconds)
    log.complete(work.fitting, worker, -(-work.steps // ROUND), work.round)
    companion = work.fitting.finished()
    return _finish(job, log, companion, work.steps) if worker.rank == 0 else None


class _Work:
    """A fit on one worker, and what it is shown."""

    def __init__(self, job: FitJob, worker: Worker) -> None:
        self.job, self.worker, self.device = job, worker, torch.device(worker.device)
        self.spec, self.store = job.spec, Store(job.store)
        x = job.experiment
        units = candidates(x, self.store, job.known, job.cycle)
        # of some, regions are labeled and others may be bought: here they are labeled, where any
        # is left that is not
        ids = [unit for unit in units if unit not in job.labels] or units
        self.steps = job.steps or self.spec.steps(len(job.labels), len(ids))
        self.labeled, self.candidates = self._images(list(job.labels)), self._images(ids)
        companion, scene = self._opened()
        self.fitting: Fitting = self.spec.start(companion, scene)
        self.feed = self._feed()

    def _images(self, ids: list[str]) -> AllImages:
        spec, most = self.store.card.image, self.job.experiment.compute.resident_bytes
        items = open_images(self.store.pool, ids, spec, self.device, most)
        return AllImages(items, len(ids), spec, self.worker.rank, self.worker.size)

    def _opened(self) -> tuple[Companion, Scene]:
        """The companion before its first step, and all that it is fitted to."""
        job, x, card = self.job, self.job.experiment, self.store.card
        about, precision = x.card_for(card), x.scheme.precision
        model = TrainedModel.read(job.weights, about).network()
        beside: list[tuple[Spec, Companion]] = []
        seed = derive(*job.key, "begin")
        with seeded(self.device, seed):
            companion = self.spec.build(model, len(card.classes), card.image)
            for spec in x.companions():
                there = spec.build(model, len(card.classes), about.untrained)
                load_weights(there, job.companions[spec.name].read())
                beside.append((spec, placed(there, self.device, precision).eval()))
        for module in (model, *(each for _, each in beside)):
            module.requires_grad_(False)
        scene = Scene(
            model=placed(model, self.device, precision).eval(),
            companions=Companions(beside),
            labeled=self.labeled,
            candidates=self.candidates,
            steps=self.steps,
            precision=precision,
        )
        return companion.to(self.device), scene

    def _feed(self) -> FitFeed | None:
        x, job, shown = self.job.experiment, self.job, self.spec.batches()
        if shown is None:
            return None
        most = x.compute.resident_bytes
        labels = open_labels(x.task, job.labels, self.store.card, self.device, most)
        return FitFeed(self.labeled, labels, self.candidates, shown, *job.key)

    def round(self, number: int) -> dict[str, float]:
        """The steps of one round, counted from 0; returns its row, the same on all workers."""
        started, sums = monotonic(), Means()
        steps = range(number * ROUND, min((number + 1) * ROUND, self.steps))
        batches = iter([None] * len(steps)) if self.feed is None else self.feed.batches(steps)
        rank = 0 if self.spec.replicated else self.worker.rank
        with seeded(self.device, *self.job.key, "noise", number, rank):
            for step, batch in zip(steps, batches, strict=True):
                sums.add(self._noted(batch, step), 1)
        _, means = sums.of_all_workers()
        for what, mean in means.items():
            if not math.isfinite(mean):
                raise DataError(
                    f"the {what} of {self.job.name} became {mean} in cycle {self.job.cycle}, after"
                    f" {steps.stop} steps; lower its lr ({self.spec.lr}), and use another {OUT}"
                )
        return {"step": steps.stop, "of": self.steps, **means, "seconds": monotonic() - started}

    def _noted(self, batch: FitBatch | None, step: int) -> dict[str, torch.Tensor]:
        noted = self.fitting.step(batch, step)
        if not (isinstance(noted, dict) and "loss" in noted):
            raise UsageError(
                f"{self.job.name}: step() returned {noted!r:.80}; return a dictionary of scalar"
                " tensors with `loss` among them"
            )
        return noted


def _finish(job: FitJob, log: RoundLog, companion: Companion, steps: int) -> Fit:
    """Writes the companion; the checkpoints have then done their work."""
    rows, out = log.write_rows(), log.out
    file = out.write(file_name(job.name), save_weights(companion))
    log.checkpoints.clear()
    return Fit(
        companion=file,
        log=rows,
        steps=steps,
        loss=log.rows[-1]["loss"],
        seconds=sum(row["seconds"] for row in log.rows),
    )
