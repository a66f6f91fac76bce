"""Accuracy and likelihood by hand and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, recall_score

from rayal.data.tasks.base import Evaluator
from rayal.data.tasks.classification import Classification
from rayal.errors import DataError, UsageError


def evaluator(logits: torch.Tensor, labels: list[int]) -> Evaluator:
    result = Classification().evaluator(logits.shape[1])
    result.update(logits, torch.tensor(labels))
    return result


def test_metrics_by_hand() -> None:
    """Every curve of every run would be wrong."""
    probs = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])
    judged = evaluator(probs.log(), [0, 1, 1])
    metrics = judged.compute(judged.state())

    assert 2 / 3 == metrics["accuracy"]
    assert [1.0, 0.5, None] == metrics["per_class_accuracy"]
    assert (math.log(2) * 2 + math.log(4)) / 3 == pytest.approx(metrics["nll"], abs=1e-7)


def test_metrics_agree_with_scikit_learn() -> None:
    """Our numbers would not be comparable with those of others."""
    generator = np.random.default_rng(0)
    labels = generator.integers(10, size=500)
    logits = torch.from_numpy(generator.normal(size=(500, 10)))
    judged = evaluator(logits, labels.tolist())
    metrics = judged.compute(judged.state())
    predicted = logits.argmax(dim=1).numpy()

    assert accuracy_score(labels, predicted) == pytest.approx(metrics["accuracy"])
    assert recall_score(labels, predicted, average=None) == pytest.approx(
        metrics["per_class_accuracy"]
    )
    assert log_loss(labels, logits.softmax(dim=1).numpy()) == pytest.approx(metrics["nll"])


def test_likelihood_of_a_confident_mistake_is_finite() -> None:
    """One overconfident prediction would make the metric infinite, which is not JSON."""
    judged = evaluator(torch.tensor([[1000.0, 0.0]]), [1])

    assert 1000.0 == judged.compute(judged.state())["nll"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_network_stops_the_run(bad: float) -> None:
    """A network that diverged would pass as one that predicts the first class."""
    with pytest.raises(DataError, match="not finite.*lower scheme.lr"):
        evaluator(torch.tensor([[bad, 0.0]]), [0]).state()


def test_nothing_evaluated_is_an_error() -> None:
    """An empty test split would end in a division by zero."""
    empty = Classification().evaluator(2)

    with pytest.raises(DataError, match="no image was evaluated"):
        empty.compute(empty.state())


def test_loss_by_hand() -> None:
    """Training would minimise something else than the cross entropy."""
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    loss = Classification().loss(logits, torch.tensor([0, 1]))

    assert [math.log(2), math.log(4)] == pytest.approx(loss.tolist())


def test_per_unit_is_the_identity() -> None:
    """Scores of images would be changed on their way to selection."""
    scores = torch.tensor([0.5, 0.25])

    assert torch.equal(scores, Classification().per_unit(scores, None))


def test_maps_are_refused() -> None:
    """A strategy's score per pixel would be taken for one per image."""
    with pytest.raises(UsageError, match=r"one value per image, got shape \(2, 8, 8\)"):
        Classification().per_unit(torch.zeros(2, 8, 8), None)
