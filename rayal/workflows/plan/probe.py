"""How fast this machine is: a few batches of an experiment's own training and scoring, timed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch

from rayal.cycle.first_choice import CYCLE, as_strategy, untrained
from rayal.cycle.fit import FitJob
from rayal.cycle.rounds import Worker
from rayal.cycle.score import ScoreJob
from rayal.cycle.scorer import Scorer
from rayal.cycle.train import TrainJob, train
from rayal.data.masks import LabelValue, encode
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.runs.results import Fit, Trained
from rayal.signals.networks import forward
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise
from rayal.workflows.plan.timed_pass import score, seconds, some_units
from rayal.workflows.plan.timed_selection import grown, of_cycle, of_first

CPU_BATCH = 64  # images in a timed pass: on a CPU the time per image hardly depends on it
SECONDS = 1.0  # of timed training per size of batch, unless one step takes longer
STEPS = 50  # timed at most
FEW = 512  # labeled units, and candidates, of a timed fit
NONE = (0.0, 0.0)  # of a selection that is not timed

Model = tuple[FileLocation, Mapping[str, FileLocation]]
"""Weights, and what lived beside them in training."""


@dataclass(frozen=True)
class Probe:
    """Seconds on this machine, start-up apart."""

    device: str
    steps: dict[int, float]
    """Images in a batch -> one training step, for the smallest and the largest batch of the run."""
    evaluate: float
    """One image through the model."""
    score: tuple[float, float]
    """One image through the scoring pass: in cycle 0, and in later cycles."""
    select: tuple[float, ...] = NONE
    """The selection of a cycle: what it takes in any case, for each candidate, and, of strategies
    that compare all with all, for each two; 0 for images, whose pass takes far longer."""
    fits: dict[str, float] = field(default_factory=dict)
    """By name, one step of what is fitted beside the model."""
    first: float = 0.0
    """One image through the pass before the first training; 0 where no strategy chooses there."""
    first_select: tuple[float, ...] = NONE
    """The selection from that pass, as `select`."""

    def step(self, images: int) -> float:
        """One training step of a batch of this many images."""
        return float(np.interp(images, list(self.steps), list(self.steps.values())))

    def selected(self, candidates: int) -> float:
        """The selection of a cycle from so many."""
        return grown(self.select, candidates)


def measure(x: Experiment, store: Store) -> Probe:
    """Trains and scores a few batches in a temporary folder; takes seconds.

    What the real run would raise for its first batches is raised here.
    """
    device = "cuda" if x.compute.device != "cpu" and torch.cuda.is_available() else "cpu"
    vectors = not store.card.image.sides
    few = device == "cpu" and not vectors
    batch = min(x.compute.score_batch, CPU_BATCH) if few else x.compute.score_batch
    compute = x.compute.model_copy(update={"score_batch": batch})
    x = x.model_copy(update={"compute": compute})
    amounts = x.budget.amounts
    counts = amounts.initial or amounts.total, amounts.total
    sizes = sorted({min(n, x.scheme.batch_size) for n in counts})
    with TemporaryDirectory(prefix="rayal-plan-") as folder:
        steps = {size: _trained(x, store, size, folder, device) for size in sizes}
        trained = steps[sizes[-1]]
        beside = {n: FileLocation(folder, file) for n, file in trained.companions.items()}
        weights = FileLocation(folder, trained.weights)
        fits = {
            spec.name: _fitted(x, store, spec.name, (weights, beside), folder, device)
            for spec in x.fits()
        }
        made = {n: FileLocation(f"{folder}/{n}", fit.companion) for n, fit in fits.items()}
        first, first_select = _first_seconds(x, store, folder, device)
        evaluate, *each = _score_seconds(x, store, weights, beside | made, device)
        return Probe(
            device=device,
            steps={size: each.seconds / each.steps for size, each in steps.items()},
            evaluate=evaluate,
            score=(each[0], each[1]),
            select=of_cycle(x, store, weights, beside | made, device) if vectors else NONE,
            fits={name: fit.seconds / fit.steps for name, fit in fits.items()},
            first=first,
            first_select=first_select,
        )


def _trained(x: Experiment, store: Store, size: int, out: str, device: str) -> Trained:
    """The result of a training with `size` images, of as many steps as there is time for."""
    good = (unit for unit in store.pool.ids() if unit not in store.card.bad)
    ids = tuple(unit for unit, _ in zip(good, range(size), strict=False))
    labels = _labels(store, ids)

    unlabeled = x.scheme.unlabeled(1)
    few = unlabeled.batch_size if unlabeled is not None and unlabeled.phases else None

    def result(steps: int) -> Trained:
        length = {"steps": steps, "epochs": None, "schedule": "constant"}
        job = TrainJob(
            experiment=x.model_copy(update={"scheme": x.scheme.model_copy(update=length)}),
            cycle=1,  # where every scheme does all it ever does
            store=store.url,
            ids=ids,
            labels=tuple(labels[unit] for unit in ids),
            start_from=None,
            out=out,
            most_unlabeled=few,  # of a phase one batch
        )
        trained = train(job, Worker(device=device))
        assert trained is not None, "the only worker is worker 0"
        return trained

    first = result(1)  # warms up: the first optimizer of a process has torch import for seconds
    if first.seconds >= SECONDS:
        first = result(1)
    return result(min(STEPS, int(SECONDS / first.seconds))) if first.seconds < SECONDS else first


def _fitted(x: Experiment, store: Store, name: str, model: Model, folder: str, device: str) -> Fit:
    """The result of a fit of as many steps as there is time for; to few units: what a step takes
    hardly depends on how many there are."""
    good = [unit for unit in store.pool.ids() if unit not in store.card.bad]
    labeled, weights = good[: min(FEW, len(good) // 2)], model[0]

    def result(steps: int) -> Fit:
        job = FitJob(
            experiment=x.model_copy(update={"candidates": FEW}),
            cycle=1,
            store=store.url,
            labels=_labels(store, labeled),
            known=frozenset(labeled),
            weights=weights,
            companions=model[1],
            out=f"{folder}/{name}",
            name=name,
            steps=steps,
        )
        fit = job.run(Worker(device=device))
        assert fit is not None, "the only worker is worker 0"
        return fit

    first = result(1)  # warms up
    return result(min(STEPS, int(SECONDS / first.seconds))) if first.seconds < SECONDS else first


def _labels(store: Store, units: Sequence[str]) -> dict[str, LabelValue]:
    """Their labels; of a pool that has none made-up ones, which take as long."""
    card = store.card
    if card.labeled:
        return store.labels("pool", units)
    if card.masks is not None:
        empty = encode(np.zeros(card.image.sides, np.uint8))
        return dict.fromkeys(units, empty)
    return {unit: place % len(card.classes) for place, unit in enumerate(units)}


def _score_seconds(
    x: Experiment,
    store: Store,
    weights: FileLocation,
    companions: Mapping[str, FileLocation],
    device: str,
) -> tuple[float, float, float]:
    """One image through the model, through the scoring pass of cycle 0, and through later ones."""
    folder = Folder(weights.folder)
    task = some_units(x, store)
    shard, ids = task.shard, task.ids or []
    score_job = partial(
        ScoreJob.of,
        x,
        store,
        weights=weights,
        members=(weights,) * (x.ensemble - 1),
        companions=companions,
    )
    out = (folder / "first").url
    first = score_job(cycle=0, out=out)
    later = score_job(cycle=1, out=(folder / "later").url, previous=weights, previous_scores=out)
    scorers = [Scorer(job, device) for job in (first, later)]
    passes = [seconds(partial(score, scorer, task)) / len(ids) for scorer in scorers]
    images = store.pool.decode(store.pool.read(shard, keep=set(ids))).images
    batch = normalise(torch.from_numpy(images).to(device), store.card.image)
    evaluate = seconds(lambda: forward(scorers[0].networks.model, batch).logits.cpu()) / len(ids)
    return evaluate, passes[0], passes[1]


def _first_seconds(
    x: Experiment, store: Store, folder: str, device: str
) -> tuple[float, tuple[float, ...]]:
    """One image through the pass by which a strategy chooses the first units, and, of vectors, its
    selection; 0 where they are drawn."""
    if not x.chooses_first:
        return 0.0, NONE
    out, task = Folder(folder) / "before", some_units(x, store)
    y = as_strategy(x, store.card)
    weights = untrained(y, store, out)
    scorer = Scorer(ScoreJob.of(y, store, CYCLE, weights, out.url), device)
    each = seconds(partial(score, scorer, task)) / task.rows
    return each, NONE if store.card.image.sides else of_first(y, store, weights, device)
