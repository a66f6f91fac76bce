"""EPMCM, the expected change of the last layer's bias if a unit and its like were learned from.

Source: DAST-AL (ECCV 2022), Sec. 3, Eq. 5 to 7; official code cheny124800/DASTAL, 175e5bb.

Its like are features a' from N(a, S_y) around the unit's own a; y is the predicted class, which
stands for the label, and S_y the covariance of the features of that class in training. Learning
from one of them changes the bias of class y by 1 - p_y, of which Eq. 7 is a bound: E[1/p_y] - 1.

Differences, each between paper and code:
- The paper speaks of covariance matrices; the code keeps their diagonals (`covariance`).
- The code has one estimate for all cycles (`reset: false`), and its scoring changes it: it takes in
  every batch of candidates, with their predicted classes, before it scores that batch. Scores then
  depend on the order of the candidates. `update_while_scoring` does so, with a copy: that the
  next cycle's training begins with the changed estimate is not reproduced.
- The code scores units under random training augmentation (`score_transform: train`).
- Of the bias's gradient, p - e_y, only the entry of class y counts; its L1 norm is twice that.

The bound is loose, and heavy-tailed: expect least confidence, corrected by how much classes vary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor
from torch.nn.functional import linear

from rayal.data.pixels import on_grid
from rayal.data.tasks.base import Task, TaskName
from rayal.errors import UsageError
from rayal.labeling.oracles.base import Oracle
from rayal.models.base import Outputs
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.class_statistics import (
    ClassStatistics,
    ClassStatisticsSpec,
    Covariance,
    epmcm_log_scores,
    linear_weight,
    quadratic_terms,
)
from rayal.models.network import LAST_LAYER
from rayal.models.weights import decoded, load_weights
from rayal.selection.candidates import Candidates
from rayal.selection.distances import check_finite
from rayal.selection.greedy import tie_order
from rayal.signals.batch import Signals
from rayal.signals.signal import Requirement, SignalName
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Select, Strategy


class Epmcm(Strategy):
    """s = log sum_j exp(z_j - z_y + Q[y, j] / 2), Q[y, j] = (w_j - w_y)^T S_y (w_j - w_y).

    At least 0; of an image whose every pixel has a class, log of the mean over the logit grid of
    e^s. The score of the paper is e^s - 1, which orders units alike and leaves float32 at
    s = 88. Statistics are kept through every training, whatever the scheme; under `isda` they are
    the scheme's, so `covariance` and `reset` have to be the same in both.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"grid_logits", "model", "companion"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    covariance: Covariance = "diagonal"
    """What S_y holds: a variance per feature (official), or the `full` matrix."""
    reset: bool = True
    """Forget the statistics at the start of every training; official: false."""
    update_while_scoring: bool = False
    """Official: true. Candidates change the statistics before they are scored, which happens where
    the units are selected, in a seeded order, from features in float16."""
    update_batch: PositiveInt = 128
    """Candidates that `update_while_scoring` takes in at once."""

    def requires(self) -> frozenset[Requirement]:
        return super().requires() | {"weights"}  # those of the last layer

    def kept(self) -> frozenset[SignalName]:
        return frozenset({"features"}) if self.update_while_scoring else frozenset()

    def contradictions(self, task: Task, oracle: Oracle | None, ensemble: int) -> Iterator[str]:
        yield from super().contradictions(task, oracle, ensemble)
        if self.update_while_scoring and task.dense:
            yield "cannot update_while_scoring on maps; set it to false"

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (ClassStatisticsSpec(covariance=self.covariance, reset=self.reset),)

    def score(self, s: Signals) -> Tensor | None:
        if self.update_while_scoring:
            return None
        scores = epmcm_log_scores(
            s.grid_logits, s.constant("quadratic_terms", partial(_quadratic, s))
        )
        return scores if scores.ndim == 1 else _log_mean_exp(scores, s.valid)

    def ranks(self, one_price: bool = True) -> bool:
        return not self.update_while_scoring

    def selector(self, trained: Mapping[str, FileLocation]) -> Select:
        return partial(self._select_updating, trained) if self.update_while_scoring else self.select

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        if self.update_while_scoring:
            raise UsageError(
                "epmcm: update_while_scoring needs the trained model, which is not in the scores;"
                " select in a run, or set it to false and score again"
            )
        return super().select(pool, budget, rng)

    def _select_updating(
        self,
        trained: Mapping[str, FileLocation],
        pool: Candidates,
        budget: float,
        rng: np.random.Generator,
    ) -> Sequence[str]:
        scores = np.empty(len(pool.ids))
        for rows, values in self._updated(trained, pool, tie_order(pool, rng)):
            scores[rows] = values.numpy()
        check_finite(pool.ids, scores[:, None], "scores")
        return super().select(replace(pool, scores=scores), budget, rng)

    def _updated(
        self, trained: Mapping[str, FileLocation], pool: Candidates, order: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """Positions and log-scores of one batch after another."""
        if not len(order):
            return
        weights = decoded(trained["weights"].read(), "the trained model")
        if not weights.keys() >= set(LAST_LAYER):
            raise UsageError(
                "epmcm: update_while_scoring knows the last layer of rayal's own networks only;"
                " set it to false"
            )
        weight, bias = (weights[name] for name in LAST_LAYER)
        classes, width = weight.shape
        statistics = ClassStatistics(classes, width, self.covariance, self.reset)
        load_weights(statistics, trained[ClassStatisticsSpec.name].read())
        for start in range(0, len(order), self.update_batch):
            rows = order[start : start + self.update_batch]
            features = torch.from_numpy(pool.kept["features"][rows]).float()
            logits = linear(features, weight, bias)
            statistics.observe(Outputs(logits, features, ()), logits.argmax(dim=1))
            yield rows, epmcm_log_scores(logits, quadratic_terms(weight, statistics))


def _quadratic(s: Signals) -> Tensor:
    """Q, which holds for all units of a pass."""
    return quadratic_terms(linear_weight(s.model).detach(), s.companion(ClassStatisticsSpec))


def _log_mean_exp(scores: Tensor, valid: Tensor | None) -> Tensor:
    """N h w -> N: ranks like the mean over the grid of e^s - 1, which leaves float32."""
    if valid is None:
        valid = torch.ones_like(scores, dtype=torch.bool)
    inside = on_grid(valid, scores.shape[1:])
    total = scores.masked_fill(~inside, -torch.inf).logsumexp(dim=(1, 2))
    return total - inside.sum(dim=(1, 2)).log()
