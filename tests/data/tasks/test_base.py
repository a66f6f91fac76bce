"""What every task of rayal promises, checked for each file in rayal/data/tasks."""

import json
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from rayal.data.tasks.base import Task
from rayal.parts import find, names

CLASSES = 4

pytestmark = pytest.mark.parametrize("name", names("tasks"))


def task(name: str) -> Task:
    return cast(Task, find("tasks", name)())


def batch(name: str, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and labels; of a dense task on a grid of half the size of the masks."""
    generator = torch.Generator().manual_seed(seed)
    grid, size = ((2, 3), (4, 6)) if task(name).dense else ((), ())
    labels = torch.randint(CLASSES, (n, *size), generator=generator)
    return torch.randn(n, CLASSES, *grid, generator=generator), labels


def test_loss_is_per_image(name: str) -> None:
    """Companions that learn the loss of each image would be given an average."""
    logits, labels = batch(name, 6)
    together = task(name).loss(logits, labels)
    alone = [task(name).loss(logits[i : i + 1], labels[i : i + 1]) for i in range(6)]

    assert (6,) == together.shape
    assert torch.allclose(torch.cat(alone), together)


def test_states_of_shards_add_up(name: str) -> None:
    """Metrics would depend on how the test split is divided among workers."""
    logits, labels = batch(name, 90)
    whole = task(name).evaluator(CLASSES)
    whole.update(logits, labels)
    states = []
    for part in torch.split(torch.arange(90), 37):
        evaluator = task(name).evaluator(CLASSES)
        for rows in torch.split(part, 10):
            evaluator.update(logits[rows], labels[rows])
        states.append(evaluator.state())
    expected, actual = whole.compute(whole.state()), whole.compute(np.sum(states, axis=0))

    assert all(state.dtype == np.float64 for state in states)
    assert expected.keys() == actual.keys()
    for metric, value in expected.items():
        assert value == pytest.approx(actual[metric], abs=1e-12)


def test_the_state_is_a_copy(name: str) -> None:
    """A state that was handed out would change with later batches."""
    evaluator = task(name).evaluator(CLASSES)
    evaluator.update(*batch(name, 5))
    before = evaluator.state()
    kept = before.copy()
    evaluator.update(*batch(name, 5))

    assert np.array_equal(kept, before)


def test_metrics_are_json_and_hold_the_headline(name: str) -> None:
    """The evaluate stage could not write its result, or curves would have nothing to show."""
    evaluator = task(name).evaluator(CLASSES)
    evaluator.update(*batch(name, 5))
    metrics = evaluator.compute(evaluator.state())

    assert metrics == json.loads(json.dumps(metrics, allow_nan=False))
    assert isinstance(metrics[task(name).headline], float)
