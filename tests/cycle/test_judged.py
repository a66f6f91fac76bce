"""Trainings that held-out labels end: which weights they leave, in whatever way they go."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from rayal.cycle.judged import HeldOut
from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.datasets.digits import Digits
from rayal.data.store import Store
from rayal.errors import DataError
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.weights import load_weights
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Trained
from rayal.storage.folder import Folder, Json
from rayal.training.augment import normalise
from rayal.training.base import Batch
from rayal.training.learner import Learner
from rayal.workflows.run import start_engine, start_run
from tests.support.forks import as_two
from tests.support.whole_runs import short

STOPPING = {"share": 0.25, "patience": 3, "min_delta": 0.01}
EPOCHS = 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Digits(store=str(tmp_path_factory.mktemp("stores")), limit_pool=100).open()


def job(store: Store, out: Path, n: int = 60, **fields: Any) -> TrainJob:
    """A training on the first n digits that overfits soon."""
    scheme = {"epochs": EPOCHS, "batch_size": 16, "lr": 0.1, "schedule": "constant"}
    x = Experiment(
        name="judged",
        dataset=Digits(),
        strategy=fields.pop("strategy", "entropy"),
        model={"name": "small_cnn", "width": 4},
        scheme={**scheme, "early_stopping": STOPPING, **fields.pop("scheme", {})},
        budget={"initial": n, "per_cycle": 1, "total": n},
        compute=Compute(checkpoint_seconds=0, train_workers=fields.pop("workers", 1)),
        tracking="none",
    )
    ids, labels = tuple(store.pool.ids()[:n]), store.labels("pool")
    values = tuple(labels[unit] for unit in ids)
    return TrainJob(x, 0, store.url, ids, values, start_from=None, out=str(out))


def rows(out: Path) -> list[Json]:
    return [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]


def held_out_loss(store: Store, task: TrainJob, out: Path) -> float:
    """Of the weights in this folder, by torch alone."""
    network = build(task.experiment.model, 10, store.card.image, 0).eval()
    load_weights(network, (out / "weights.safetensors").read_bytes())
    images = store.pool.decode(store.pool.take(task.held_out)).images
    known = dict(zip(task.ids, task.labels, strict=True))
    labels = torch.tensor([known[unit] for unit in task.held_out])
    with torch.no_grad():
        logits = network(normalise(torch.from_numpy(images), store.card.image)).logits
    return float(F.cross_entropy(logits, labels))


@pytest.fixture(scope="module")
def straight(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A training that nothing disturbed."""
    out = tmp_path_factory.mktemp("straight")
    result = train(job(store, out), Worker())
    assert result is not None
    return out, result


def test_ends_after_its_patience_with_its_best_weights(
    store: Store, straight: tuple[Path, Trained]
) -> None:
    """A training would end too late, or with weights that were no longer the best."""
    out, result = straight
    losses = [row["held_out_loss"] for row in rows(out)]
    best, lowest = 0, float("inf")
    for epoch, loss in enumerate(losses, start=1):
        assert epoch - best <= STOPPING["patience"]
        if loss < lowest - STOPPING["min_delta"]:
            best, lowest = epoch, loss

    assert best + STOPPING["patience"] == len(losses) == result.epochs < EPOCHS
    assert best == result.best
    assert rows(out)[best - 1]["loss"] == result.loss
    assert 3 * len(losses) == result.steps  # 45 images in batches of 16
    assert lowest == pytest.approx(held_out_loss(store, job(store, out), out), rel=1e-5)


def test_what_is_held_out_is_not_trained_on(
    store: Store, straight: tuple[Path, Trained], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loss that ends a training would be that of what it knows by heart."""
    task = job(store, tmp_path)
    seen, step = list[torch.Tensor](), Learner.step

    def watched(learner: Learner, batch: Batch) -> Any:
        seen.append(batch.images)
        return step(learner, batch)

    monkeypatch.setattr(Learner, "step", watched)
    train(task, Worker())
    images = normalise(
        torch.from_numpy(store.pool.decode(store.pool.take(task.held_out)).images), store.card.image
    )

    assert 15 == len(task.held_out) and straight[1].held_out == task.held_out
    assert not (torch.cat(seen)[:, None] == images[None]).flatten(2).all(2).any()


class Interrupted(Exception):
    """What stops a training here."""


@pytest.mark.parametrize("epochs", [1, 4, -1])
def test_interrupted_anywhere_ends_the_same(
    store: Store,
    straight: tuple[Path, Trained],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    epochs: int,
) -> None:
    """A restart would forget its best epoch, or how long it has waited for a better one."""
    out, result = straight
    left = [3 * (epochs % result.epochs) + 1]
    step = Learner.step

    def stopping(learner: Learner, batch: Batch) -> Any:
        left[0] -= 1
        if not left[0]:
            raise Interrupted
        return step(learner, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "step", stopping)
        with pytest.raises(Interrupted):
            train(job(store, tmp_path), Worker())
    again = train(job(store, tmp_path), Worker())

    assert again is not None
    assert (result.weights, result.best, result.epochs) == (
        again.weights,
        again.best,
        again.epochs,
    )


def test_too_few_labels_train_the_whole_length(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two labels would end a training by chance, or nobody would know that they did not."""
    result = train(job(store, tmp_path, n=6, scheme={"epochs": 5}), Worker())

    assert result is not None
    assert (5, 0, ()) == (result.epochs, result.best, result.held_out)
    assert "6 labels of cycle 0 are too few to hold 0.25 of them out" in caplog.text


def test_a_training_that_diverges_for_the_others_alone_ends(store: Store, tmp_path: Path) -> None:
    """Its best weights would be looked for where there are none."""
    task = job(store, tmp_path)
    with (
        patch.object(HeldOut, "loss", lambda *_: float("nan")),
        pytest.raises(DataError, match=r"held-out units became nan after epoch 1; lower scheme.lr"),
    ):
        train(task, Worker())
    result = train(job(store, tmp_path / "another", scheme={"lr": 0.01, "epochs": 2}), Worker())

    assert result is not None and result.best


def test_companions_are_those_of_the_best_epoch(store: Store, tmp_path: Path) -> None:
    """Scores would compare the model with statistics of weights that were thrown away."""
    whole, short = tmp_path / "whole", tmp_path / "short"
    result = train(job(store, whole, strategy="epmcm"), Worker())
    assert result is not None and result.best < result.epochs
    patient = {"early_stopping": {**STOPPING, "patience": EPOCHS}, "epochs": result.best}
    train(job(store, short, strategy="epmcm", scheme=patient), Worker())

    for name in ("weights.safetensors", "companion-class_statistics.safetensors"):
        assert (short / name).read_bytes() == (whole / name).read_bytes()


def test_warm_starts_are_judged_by_what_they_have_not_seen(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """Every cycle after the first would be stopped by labels that its weights know by heart."""
    x = short(
        tiny,
        dataset={"name": "digits", "limit_pool": 100, "limit_test": 20},
        strategy="entropy",
        start="warm",
        scheme={"epochs": 3, "batch_size": 16, "early_stopping": {}},
        compute={"engine": "local"},
    )
    with start_run(x, str(tmp_path)) as opened:
        opened.run(lambda: start_engine(x.compute))
    record, trained_on = Record(Folder(tmp_path)), set[str]()
    labeled = set(record.initial())
    for cycle in range(3):
        trained, chosen = record.result(cycle, Trained), record.result(cycle, Chosen)
        assert trained is not None
        held = {*trained.held_out}
        assert 20 * (cycle + 1) // 5 == len(held) and held < labeled
        assert not held & trained_on
        trained_on |= labeled - held
        labeled |= {*chosen.ids} if chosen else set()


def _work(rank: int, folder: Path, url: str) -> None:
    result = train(job(Store(url), folder, workers=2), Worker(rank=rank, size=2))
    if rank == 0:
        assert result is not None
        (folder / "result.json").write_text(json.dumps(result.to_json()))


def test_two_workers_end_together(store: Store, tmp_path: Path) -> None:
    """Workers would wait for each other for ever, one of them still training."""
    as_two(_work, tmp_path, store.url)
    result = Trained.from_json(json.loads((tmp_path / "result.json").read_text()))
    losses = [row["held_out_loss"] for row in rows(tmp_path)]

    assert result.best + STOPPING["patience"] == len(losses) < EPOCHS
    loss = held_out_loss(store, job(store, tmp_path, workers=2), tmp_path)
    assert losses[result.best - 1] == pytest.approx(loss, rel=1e-5)
