"""ActiveLab: new units, and second opinions of labeled ones, on one scale.

Source: Goh and Mueller, "ActiveLab: Active Learning with Re-Labeling by Multiple Annotators"
(2023). Reference: cleanlab 2.7.1, `multiannotator.get_active_learning_scores`; a test compares the
numbers where that is installed.

Each unit has a quality, the weighted mean of 1/K, K classes, and of what is known of its label; the
lowest is asked for first:

    labeled   ((w + sum of its votes' w_j) q + v / K) / (w + sum of w_j + v)
    new       (w max_k p(k) + v / K) / (w + v)

p is the model's prediction, w the model's weight, w_j an annotator's, v the mean of all w_j, and q
how surely the consensus of the votes is right (CROWDLAB, see rayal/labeling/trust.py). A new unit
knows the model alone, so that 1/K pulls it down most; each vote that agrees lifts a labeled one.
While no unit has two votes nobody can be compared: all weights are 1, and q is the model's
probability of the label. Else the predictions are first scaled by the temperature that fits the
votes best.

Differences:
- The paper asks a model for its opinion of a label that it has not been trained on, by
  cross-validation. Here it is the run's own model, trained on the labels it judges: it doubts them
  less, and more new units are bought. A short training that has not learned its labels by heart
  doubts more.
- The label that trains is the oracle's, by its stated rule, and not the consensus of CROWDLAB,
  which serves the scores alone.
- cleanlab looks for the temperature with votes counted on wrong classes: `value_counts` of labels
  that are floats, as beside a NaN, puts the counts on the first classes, [1, 1, 3] on 0 and 1. Here
  they are on their own; in a case of the test that is 2 in place of 7.
- Predictions are kept in float16. Of their ensembles there is none here.
- Of equal numbers of votes, predictions and uses of a class the first one wins, where the reference
  looks at the annotators and then draws.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rayal.labeling.trust import Floats, Said, Trust, scaled, temperature
from rayal.selection.candidates import Candidates, take_highest
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy

CHUNK = 2**16
"""Units whose predictions are float64 at a time."""


class ActiveLab(Strategy):
    """-quality of the label that a unit has, or would have, in [-1, 0]; ask where it is lowest."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"probs"})
    scans_labeled: ClassVar[bool] = True
    relabels: ClassVar[bool] = True

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        return pool.ids[take_highest(replace(pool, scores=self.weighed(pool)), budget, rng)]

    def weighed(self, pool: Candidates) -> NDArray[np.float64]:
        judged = _Judged.of(pool)
        scores = np.empty(len(pool.ids))
        for start in range(0, len(scores), CHUNK):
            rows = slice(start, start + CHUNK)
            scores[rows] = -judged.unlabeled(_probs(pool.kept["probs"][rows]))
        scores[judged.rows] = -judged.labeled
        return scores


class _Judged:
    """The labeled units of a pool, and the weights that they give."""

    def __init__(self, rows: NDArray[np.intp], said: Said, probs: Floats, offered: int) -> None:
        """U units with votes, of which the first `offered` are the candidates in these `rows`."""
        units, self.classes = probs.shape
        self.rows, self.temperature, self.model, self.mean = rows, 1.0, 1.0, 1.0
        counts = said.counts(units, self.classes)
        votes = counts.sum(axis=1)
        if (votes > 1).any():
            self.temperature = temperature(counts, probs)
            trust = Trust.of(said, scaled(probs, self.temperature))
            self.model, self.mean = trust.model, float(trust.annotators.mean())
            quality, known = trust.quality, np.zeros(units)
            np.add.at(known, said.units, trust.annotators[said.annotators])
        else:
            quality, known = probs[np.arange(units), counts.argmax(axis=1)], votes
        self.labeled = self._pulled(quality, known + self.model)[:offered]

    @classmethod
    def of(cls, pool: Candidates) -> "_Judged":
        rows, others = (
            np.array([n for n, unit in enumerate(ids) if _voted(pool, unit)], np.intp)
            for ids in (pool.ids, pool.labeled_ids)
        )
        units = [*pool.ids[rows], *pool.labeled_ids[others]]
        probs = [pool.kept["probs"][rows]]
        if len(others):
            probs.append(pool.labeled["probs"][others])
        return cls(rows, Said.of(pool.votes, units), _probs(np.concatenate(probs)), len(rows))

    def unlabeled(self, probs: Floats) -> Floats:
        """The quality of units without votes, from what the model says of them, N K."""
        if self.temperature != 1:
            probs = scaled(probs, self.temperature)
        return self._pulled(probs.max(axis=1), self.model)

    def _pulled(self, quality: Floats, weight: Floats | float) -> Floats:
        """The weighted mean of the quality and 1/K."""
        pulled: Floats = (weight * quality + self.mean / self.classes) / (weight + self.mean)
        return pulled


def _voted(pool: Candidates, unit: str) -> bool:
    return any(vote.value is not None for vote in pool.votes.get(unit, ()))


def _probs(kept: NDArray[np.floating]) -> Floats:
    probs = np.asarray(kept, np.float64)
    totals = probs.sum(axis=1, keepdims=True)  # 1, but for float16
    whole: Floats = probs / np.where(totals > 0, totals, 1)
    return whole
