"""A training that labels held out of it judge after each epoch: its best weights, and its end.

B of one batch.
"""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from rayal.cycle.rounds import Worker
from rayal.data.card import ImageSpec
from rayal.data.tasks.base import Task
from rayal.errors import OUT, DataError
from rayal.models import parallel
from rayal.models.base import Precision
from rayal.models.module import evaluating
from rayal.signals.networks import forward
from rayal.training.augment import normalise
from rayal.training.images import Items
from rayal.training.learner import Learner
from rayal.training.stopping_rule import StoppingRule

HELD_OUT_LOSS = "held_out_loss"
"""In the row of an epoch: the mean task loss of the held-out units after it."""

Row = dict[str, float]


class HeldOut:
    """The units that judge, of which each worker looks at a part."""

    def __init__(self, images: Items, labels: Items, count: int, spec: ImageSpec) -> None:
        """`count`: how many there are."""
        self.images, self.labels, self.count, self.spec = images, labels, count, spec

    def loss(
        self, model: nn.Module, task: Task, precision: Precision, batch: int, worker: Worker
    ) -> float:
        """The mean task loss, without augmentation, in eval mode: the same on all workers."""
        own = torch.arange(self.count).tensor_split(worker.size)[worker.rank]
        parts = [own[start : start + batch] for start in range(0, len(own), batch)]
        total = torch.zeros(2, dtype=torch.float64, device=worker.device)
        with evaluating(model):
            items = zip(self.images.batches(parts), self.labels.batches(parts), strict=True)
            for images, labels in items:
                logits = forward(model, normalise(images, self.spec), precision).logits.float()
                total += _summed(task.loss(logits, labels).double(), task.weights(labels))
        # only worker 0 decides what follows from it
        loss, count = parallel.first(parallel.total(total)).tolist()
        return float(loss / count)


def _summed(losses: Tensor, weights: Tensor | None) -> Tensor:
    """(B,) -> 2: the sum of the losses, each by its weight, and that of the weights."""
    counts = torch.ones_like(losses) if weights is None else weights.double()
    return torch.stack([(losses * counts).sum(), counts.sum()])


class Judged:
    """A learner, and what it had learned after its best epoch."""

    def __init__(self, learner: Learner, rule: StoppingRule, held_out: HeldOut) -> None:
        self.learner, self.rule, self.held_out = learner, rule, held_out
        self.best, self.lowest = 0, math.inf
        self.learned: dict[str, Any] = {}

    def epoch(self, worker: Worker, work: Callable[[int], Row], number: int) -> Row:
        """`work` of an epoch, counted from 0, and then the judgement: its row."""
        row, learner, started = work(number), self.learner, monotonic()
        scheme = learner.scheme
        loss = self.held_out.loss(
            learner.model, learner.task, scheme.precision, scheme.batch_size, worker
        )
        if not math.isfinite(loss):
            raise DataError(
                f"the loss of held-out units became {loss} after epoch {number + 1}; lower"
                f" scheme.lr ({scheme.lr}), and use another {OUT}"
            )
        if loss < self.lowest - self.rule.min_delta:
            self.best, self.lowest = number + 1, loss
            self.learned = _copied(learner.learned())
        seconds = row["seconds"] + monotonic() - started
        return row | {HELD_OUT_LOSS: loss, "seconds": seconds}

    def is_over(self, done: int) -> bool:
        """Whether the last epochs, as many as there is patience for, were none the best."""
        return done - self.best >= self.rule.patience

    def end(self) -> None:
        """Puts the learner where its best epoch ended."""
        self.learner.load_learned(self.learned)

    def state_dict(self) -> dict[str, Any]:
        judged = {"best": self.best, "lowest": self.lowest, "learned": self.learned}
        return {"learner": self.learner.state_dict(), **judged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.best, self.lowest, self.learned = (state[k] for k in ("best", "lowest", "learned"))


def _copied(state: Any) -> Any:
    """The same names and numbers, which no longer change."""
    if isinstance(state, dict):
        return {name: _copied(value) for name, value in state.items()}
    return state.clone() if isinstance(state, Tensor) else state
