"""Memorising the labeled set: what is remembered, whole runs with it, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.store import Store
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.linear_head import LinearHead
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated, Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.badge import Badge
from rayal.training.augment import normalise
from rayal.workflows.checks import check
from rayal.workflows.plan import make
from rayal.workflows.score.models import check_strategies
from tests.support.forks import as_two
from tests.support.whole_runs import At, Interrupted, go

FEATURES = 6


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dataset of vectors around the corners of three classes."""
    root, rng = tmp_path_factory.mktemp("vectors"), np.random.default_rng(0)
    for name, count in (("pool", 150), ("test", 60)):
        labels = np.arange(count) % 3
        around = np.eye(FEATURES)[labels] * 2 + rng.standard_normal((count, FEATURES))
        ids = np.array([f"{name}-{number:03d}" for number in range(count)])
        np.savez(root / f"{name}.npz", id=ids, features=around.astype(np.float16), label=labels)
    return {"name": "features", "root": str(root), "pool": "pool.npz", "test": "test.npz"}


def experiment(vectors: dict[str, Any], **fields: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "nearest",
            "dataset": vectors,
            "model": "knn_head",
            "scheme": "memorise",
            "strategy": "entropy",
            "budget": {"initial": 15, "per_cycle": 10, "total": 45},
            "compute": {"engine": "local", "cpus_per_worker": 1, "checkpoint_seconds": 0},
            "tracking": "none",
            **fields,
        }
    )


def job(x: Experiment, store: Store, out: Path, **fields: Any) -> TrainJob:
    ids = tuple(store.pool.ids()[:40])
    labels = store.labels("pool", ids)
    values = tuple(labels[unit] for unit in ids)
    return TrainJob(x, 0, store.url, ids, values, **{"start_from": None, **fields}, out=str(out))


def trained(x: Experiment, store: Store, out: Path, **fields: Any) -> Trained:
    result = train(job(x, store, out, **fields), Worker())
    assert result is not None
    return result


def test_remembers_the_labeled_set(vectors: dict[str, Any], tmp_path: Path) -> None:
    """Predictions would be by other vectors than those that were bought."""
    x = experiment(vectors, scheme={"name": "memorise", "batch_size": 16})
    store = x.dataset.open()
    result = trained(x, store, tmp_path)
    file = FileLocation(str(tmp_path), result.weights)
    state = TrainedModel.read(file, x.card_for(store.card)).state
    task = job(x, store, tmp_path)
    images = torch.from_numpy(store.pool.decode(store.pool.take(task.ids)).images)
    expected = normalize(normalise(images, store.card.image))

    assert sorted(task.labels) == state["classifier.labels"].tolist()
    for label in range(3):
        mine = expected[torch.tensor(task.labels) == label]
        theirs = state["classifier.vectors"][state["classifier.labels"] == label]
        assert sorted(mine.tolist()) == sorted(theirs.tolist())


def test_start_batches_and_seed_do_not_count(vectors: dict[str, Any], tmp_path: Path) -> None:
    """The same labels would answer otherwise in another run, or after a warm start."""
    store = experiment(vectors).dataset.open()
    first = trained(experiment(vectors), store, tmp_path / "first")
    start = FileLocation(str(tmp_path / "first"), first.weights)
    small = {"name": "memorise", "batch_size": 7}
    for fields in ({"seed": 5}, {"scheme": small}):
        other = trained(experiment(vectors, **fields), store, tmp_path / "o", start_from=start)
        assert first.weights.sha256 == other.weights.sha256


def _work(rank: int, folder: Path, vectors: dict[str, Any]) -> None:
    x = experiment(vectors, compute={"train_workers": 2, "device": "cpu"})
    train(job(x, x.dataset.open(), folder), Worker(rank=rank, size=2))


def test_two_workers_remember_as_one(vectors: dict[str, Any], tmp_path: Path) -> None:
    """Each worker would remember its part alone."""
    x = experiment(vectors)
    one = trained(x, x.dataset.open(), tmp_path / "one")
    as_two(_work, tmp_path / "two", vectors)
    two = (tmp_path / "two" / one.weights.name).read_bytes()

    assert (tmp_path / "one" / one.weights.name).read_bytes() == two


@pytest.mark.parametrize("strategy", ["random", "entropy", "margin", "core_set", "typiclust"])
def test_whole_runs_and_resumed_ones(
    vectors: dict[str, Any], tmp_path: Path, strategy: str
) -> None:
    """A study on neighbours would end in its first pass, or choose otherwise after a stop."""
    x = experiment(vectors, strategy=strategy)
    go(x, tmp_path / "whole")
    with pytest.raises(Interrupted):
        go(x, tmp_path / "stopped", At(1, "select"))
    go(x, tmp_path / "stopped")
    whole, stopped = (Record(Folder(tmp_path / name)) for name in ("whole", "stopped"))
    for cycle in range(3):
        assert whole.result(cycle, Chosen) == stopped.result(cycle, Chosen)
    last = whole.result(3, Evaluated)

    assert last is not None and last.metrics["accuracy"] > 0.65


def test_the_plan_says_what_is_remembered(vectors: dict[str, Any]) -> None:
    """Weights that grow with the labels would come as a surprise to the disk."""
    x = experiment(vectors)
    plan, empty = make(x, x.dataset.open()), (4 * FEATURES + 8)

    assert "memorise, every label once, 1024 at a time" == plan.training
    assert 45 * empty == plan.memory["what the model remembers"]
    assert (15 + 25 + 35 + 45) * empty < plan.disk["weights"]


@pytest.mark.parametrize(
    ("fields", "told", "mended"),
    [
        (
            {"scheme": "supervised"},
            "memorises labels; choose one of: memorise ",
            {"scheme": "memorise"},
        ),
        (
            {"model": "linear_head"},
            "has weights to train; choose one of: .*supervised",
            {"scheme": "supervised"},
        ),
        (
            {"ensemble": 3},
            "3, but model 'knn_head' is decided by the labels",
            {"ensemble": 1},
        ),
        (
            {"strategy": "epmcm"},
            "'epmcm' trains a class_statistics beside the model",
            {"strategy": "margin"},
        ),
        (
            {"scheme": {"name": "memorise", "lr": 1.0, "epochs": 2}},
            "so that epochs, lr would say",
            {"scheme": {"name": "memorise", "batch_size": 32}},
        ),
        (
            {"model": {"name": "knn_head", "pretrained": "x.pth"}},
            "no weights to start from",
            {"model": {"name": "knn_head", "pretrained": None}},
        ),
    ],
)
def test_what_cannot_be_is_refused(
    vectors: dict[str, Any], fields: dict[str, Any], told: str, mended: dict[str, Any]
) -> None:
    """It would do nothing, and nobody know."""
    with pytest.raises((UsageError, ValueError), match=told):
        experiment(vectors, **fields)
    experiment(vectors, **{**fields, **mended})


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("badge", "has no weights, but badge takes gradients"),
        ("entropy_gradnorm", "has no weights, but entropy_gradnorm takes gradients"),
        ("expected_gradient_length", "has no weights, but expected_gradient_length takes"),
        ("bald", "'knn_head' drops nothing, but bald needs dropout"),
    ],
)
def test_strategies_without_anything_to_ask_are_refused(
    vectors: dict[str, Any], strategy: str, told: str
) -> None:
    """They would fail in their first pass, or rank by zeros."""
    x = experiment(vectors, strategy=strategy)
    card = x.dataset.open().card
    with pytest.raises(UsageError, match=told):
        check(x, card)
    check(experiment(vectors, strategy="margin"), card)
    other = {"name": "linear_head", "dropout": 0.5}
    check(experiment(vectors, strategy=strategy, model=other, scheme="supervised"), card)


def test_a_pool_is_not_scored_by_gradients_that_are_not_there(
    vectors: dict[str, Any], tmp_path: Path
) -> None:
    """`rayal score` would end in torch's words."""
    x = experiment(vectors)
    network = build(x.model, 3, x.dataset.open().card.image, 0)
    with pytest.raises(UsageError, match="badge takes gradients, and this model has no weights"):
        check_strategies({"badge": Badge()}, x.task, network, 1)
    trained_by_gradients = build(LinearHead(), 3, x.dataset.open().card.image, 0)
    check_strategies({"badge": Badge()}, x.task, trained_by_gradients, 1)
