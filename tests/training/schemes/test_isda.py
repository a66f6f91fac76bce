"""ISDA's step against its definition, and whole trainings: stopped, shared, carried on, without."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.data.card import ImageSpec
from rayal.data.tasks.classification import Classification
from rayal.experiment.experiment import Experiment
from rayal.models.base import Model, Outputs
from rayal.models.companions.base import Companions
from rayal.models.network import Network, computing
from rayal.storage.stage_file import FileLocation
from rayal.training.base import Batch
from rayal.training.schemes.isda import Isda, IsdaLearner
from tests.support.forks import as_two

IMAGES = 65  # one more than four batches
both = pytest.mark.parametrize("covariance", ["diagonal", "full"])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The bits of a sum depend on the number of threads that share it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Linear(nn.Module):
    """Takes the images for features."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        classes, features = weight.shape
        self.classifier = nn.Linear(features, classes)
        with torch.no_grad():
            self.classifier.weight.copy_(weight)
            self.classifier.bias.zero_()

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images, ())


def learner(scheme: Isda, weight: Tensor) -> IsdaLearner:
    network = Linear(weight)
    (spec,) = scheme.companions()
    companions = Companions([(spec, spec.build(network, len(weight), nn.Identity))])
    started = scheme.start(network, Classification(), companions, 0)
    assert isinstance(started, IsdaLearner)
    return started


def batch(features: Tensor, labels: Tensor, step: int = 5, steps: int = 10) -> Batch:
    return Batch(features, labels, step, steps)


R = 0.5**0.5
HAND = torch.tensor([[2 + R, R], [2 + R, -R], [2 - R, R], [2 - R, -R]])
"""Mean (2, 0) and variances 1/2: with W = I and label 0, Q01 = 1."""


def test_hand_value() -> None:
    """log(1 + exp(z1 - z0 + lambda/2)), lambda = 1/2 halfway: of the variances of this very batch,
    which a step takes in before its loss."""
    step = learner(Isda(epochs=10, strength=1.0), torch.eye(2)).step(
        batch(HAND, torch.zeros(4).long())
    )

    expected = (HAND[:, 1] - HAND[:, 0] + 0.25).exp().log1p().mean()
    torch.testing.assert_close(step["loss"], expected)


def test_accuracy_is_of_the_plain_logits() -> None:
    """A curve would show the accuracy on features that nobody predicts for."""
    step = learner(Isda(epochs=10, strength=1000.0), torch.eye(2)).step(
        batch(HAND, torch.zeros(4).long())
    )

    assert step["accuracy"] == 1.0 and step["loss"] > 100


def test_strength_grows_with_the_epochs() -> None:
    """The first epoch would be augmented by covariances of nothing, or the last one as by
    lambda_0, which the official code never reaches."""
    by_epoch, by_step = (Isda(epochs=4, strength=2.0, ramp=ramp) for ramp in ("epoch", "step"))
    in_steps = Isda(steps=12, strength=2.0)

    assert [by_epoch.strength_at(s, 12) for s in range(12)] == 3 * [0] + 3 * [0.5] + 3 * [1] + 3 * [
        1.5
    ]
    expected = [s / 6 for s in range(12)]
    assert [by_step.strength_at(s, 12) for s in range(12)] == pytest.approx(expected)
    assert [in_steps.strength_at(s, 12) for s in range(12)] == pytest.approx(expected)


def random_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Weight (3 4), features (20 4) and labels (20)."""
    g = torch.Generator().manual_seed(0)
    weight, features = torch.randn(3, 4, generator=g), torch.randn(20, 4, generator=g)
    return weight, features, torch.arange(20) % 3


@both
def test_step_agrees_with_the_definition(covariance: str) -> None:
    """The loss would be another, or the classifier not feel that its classes vary: the gradient
    goes through Q, and none into the statistics."""
    weight, features, labels = random_batch()
    plain = {"lr": 0.1, "momentum": 0, "weight_decay": 0, "schedule": "constant"}
    scheme = Isda(epochs=2, strength=3.0, covariance=covariance, **plain)
    started = learner(scheme, weight)
    stepped = started.step(batch(features, labels))

    w = weight.double().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for x, y in zip(features.double(), labels.tolist(), strict=True):
        own = torch.cov(features[labels == y].double().T, correction=0)
        own = own if covariance == "full" else own.diagonal().diag()
        z = torch.stack(
            [w[j] @ x + 1.5 / 2 * (w[j] - w[y]) @ own @ (w[j] - w[y]) for j in range(3)]
        )
        loss = loss - z.log_softmax(0)[y] / 20
    loss.backward()
    assert w.grad is not None
    torch.testing.assert_close(stepped["loss"].double(), loss.detach(), rtol=1e-5, atol=0)
    expected = (w - 0.1 * w.grad).detach().float()
    torch.testing.assert_close(
        started.model.classifier.weight.detach(), expected, rtol=1e-5, atol=1e-6
    )


@both
def test_loss_is_the_plain_one_at_first_and_never_below(covariance: str) -> None:
    """The bound would not be one."""
    weight, features, labels = random_batch()
    started = learner(Isda(epochs=10, strength=2.0, covariance=covariance), weight)
    outputs = started.model(features)
    started.statistics.observe(outputs, labels)
    plain = cross_entropy(outputs.logits, labels, reduction="none")
    losses = [started.per_unit_loss(outputs, batch(features, labels, step)) for step in range(10)]

    assert torch.equal(plain, losses[0])
    assert all((later > before).all() for before, later in zip(losses, losses[1:], strict=False))


@both
def test_half_precision_keeps_the_augmentation_whole(covariance: str) -> None:
    """bfloat16 has three digits: differences of squares would be noise."""
    weight, features, labels = random_batch()
    started = learner(Isda(epochs=10, strength=2.0, covariance=covariance), weight)
    outputs = started.model(features)
    started.statistics.observe(outputs, labels)
    losses = []
    for precision in ("fp32", "bf16"):
        with computing(torch.device("cpu"), precision):
            losses.append(started.per_unit_loss(outputs, batch(features, labels)))

    assert torch.equal(*losses)


# Whole trainings.


class Mlp(Model):
    """No batch norm, so that workers sharing a batch change nothing."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        inputs = image.channels * image.height * image.width
        hidden = [nn.Flatten(), nn.Linear(inputs, 16), nn.ReLU(), nn.Unflatten(1, (16, 1, 1))]
        return Network(
            blocks=[nn.Sequential(*hidden)],
            layer_channels=[16],
            head=nn.Flatten(),
            classifier=nn.Linear(16, num_classes),
        )


def job(out: Path | str, model: Any = None, companions_from: Any = None, **scheme: Any) -> TrainJob:
    """A training of 4 epochs on the first digits."""
    own = {"name": "isda", "epochs": 4, "batch_size": 16, "lr": 0.05, "augment": {"crop": 1}}
    x = Experiment.model_validate(
        {
            "name": "isda",
            "dataset": {"name": "digits", "limit_pool": 100, "limit_test": 10},
            "model": model or {"name": "small_cnn", "width": 4, "dropout": 0.3},
            "scheme": own | scheme,
            "strategy": "random",
            "budget": {"initial": IMAGES, "per_cycle": 1, "total": IMAGES},
            "compute": {"checkpoint_seconds": 0},
            "tracking": "none",
        }
    )
    store = x.dataset.open()
    ids, labels = store.pool.ids()[:IMAGES], store.labels("pool")
    values = np.array([labels[unit] for unit in ids], np.int64)
    there = companions_from or {}
    return TrainJob(x, 0, store.url, tuple(ids), values, None, str(out), companions_from=there)


def ending(out: Path) -> list[bytes]:
    """What a training ended with: the weights, and the statistics where it keeps some."""
    return [path.read_bytes() for path in sorted(out.glob("*.safetensors"))]


def counted(out: Path) -> float:
    statistics = safetensors.torch.load_file(out / "companion-class_statistics.safetensors")
    return float(statistics["counts"].sum())


@both
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_strength_0_is_supervised_training(tmp_path: Path, covariance: str, precision: str) -> None:
    """A comparison with and without ISDA would compare more than ISDA: other weights, or another
    order of random numbers."""
    common = {"covariance": covariance, "precision": precision}
    train(job(tmp_path / "none", strength=0.0, **common), Worker())
    train(job(tmp_path / "some", **common), Worker())
    train(job(tmp_path / "plain", name="supervised", precision=precision), Worker())

    none, some, (weights,) = (ending(tmp_path / name) for name in ("none", "some", "plain"))
    assert none[1] == weights != some[1]
    assert counted(tmp_path / "none") == 4 * IMAGES


@pytest.mark.parametrize(("reset", "cycles"), [(True, 1), (False, 2)])
def test_statistics_are_carried_on_unless_reset(tmp_path: Path, reset: bool, cycles: int) -> None:
    """A cycle would count the features of models long gone, or the official protocol forget."""
    first = train(job(tmp_path / "1", reset=reset), Worker())
    record = first.companions["class_statistics"]
    there = {"class_statistics": FileLocation(str(tmp_path / "1"), record)}
    train(job(tmp_path / "2", reset=reset, companions_from=there), Worker())

    assert [counted(tmp_path / name) for name in "12"] == [4 * IMAGES, 4 * IMAGES * cycles]


class Interrupted(Exception):
    """What stops a training in these tests."""


@pytest.mark.parametrize("steps", [3, 7, 14])
def test_interrupted_anywhere_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """A restart would forget the statistics, or count an epoch twice."""
    train(job(tmp_path / "straight"), Worker())
    step, done = IsdaLearner.step, []

    def stop(self: IsdaLearner, at: Any) -> dict[str, Tensor]:
        if len(done) == steps:
            raise Interrupted
        done.append(at.step)
        return step(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(IsdaLearner, "step", stop)
        with pytest.raises(Interrupted):
            train(job(tmp_path / "cut"), Worker())
    train(job(tmp_path / "cut"), Worker())

    assert ending(tmp_path / "straight") == ending(tmp_path / "cut")


def _work(rank: int, folder: Path) -> None:
    for covariance in ("diagonal", "full"):
        out = folder / f"two-{covariance}"
        train(job(out, Mlp(), covariance=covariance), Worker(rank=rank, size=2))


def test_two_workers_train_as_one(tmp_path: Path) -> None:
    """Workers would augment by the statistics of their own part, or leave out the gradient that
    goes round the wrapped forward."""
    as_two(_work, tmp_path)

    for covariance in ("diagonal", "full"):
        train(job(tmp_path / covariance, Mlp(), covariance=covariance), Worker())
        for name in ("weights", "companion-class_statistics"):
            one, two = (
                safetensors.torch.load_file(tmp_path / folder / f"{name}.safetensors")
                for folder in (covariance, f"two-{covariance}")
            )
            for key, value in one.items():
                torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-5)
