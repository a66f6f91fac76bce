"""How far each annotator and a model are to be trusted, from where they agree (CROWDLAB).

Source: Goh, Tkachenko and Mueller, "CROWDLAB: Supervised learning to infer consensus labels and
quality scores for data with multiple annotators" (2022). Reference: cleanlab 2.7.1,
`multiannotator.get_label_quality_multiannotator`; a test compares the numbers.

U units with votes, V votes in all, J annotators, K classes. With Y_i the consensus of unit i, M the
units with more than one vote, and e the share of M whose consensus is not the most frequent one:

    agreement of j    of all pairs of a vote of j and another one of the same unit, those alike
    w_j               1 - (1 - agreement of j) / e
    w of the model    (1 - share of M where it predicts another class than Y_i / e) sqrt(V / U)
    P                 of the votes of a unit of M, the mean share that says Y_i
    p_i(k)            the mean, by these weights, of the model's probability of k and, for each
                      vote, P where it says k, else (1 - P) / (K - 1)

e and weights are at least 1e-6; an annotator who shares no unit with another has the mean agreement
of the others. Y is first the majority, ties by the model, and then the class of the highest p, from
which all is computed once more.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayal.labeling.votes import Vote

LEAST = 1e-6
SMALLEST = 1e-8
"""Of a probability, before its logarithm is taken."""
TEMPERATURES = 0.1, 0.2, 0.5, 0.8, 1.0, 2.0, 3.0, 5.0, 8.0
"""Tried first; then STEPS between the best one and each of its neighbours."""
STEPS = 4

Floats = NDArray[np.float64]


class Said(NamedTuple):
    """Votes as arrays; skips left out."""

    units: NDArray[np.intp]
    """V, rows of the units."""
    annotators: NDArray[np.intp]
    """V, from 0."""
    classes: NDArray[np.intp]
    """V."""

    @classmethod
    def of(cls, votes: Mapping[str, Sequence[Vote]], rows: Sequence[str]) -> "Said":
        """Of the units in these rows, in their order."""
        names = dict[str, int]()
        found = [
            (row, names.setdefault(vote.annotator, len(names)), vote.value)
            for row, unit in enumerate(rows)
            for vote in votes.get(unit, ())
            if vote.value is not None
        ]
        columns = np.array(found, np.intp).reshape(-1, 3).T
        return cls(*columns)

    def counts(self, rows: int, classes: int) -> Floats:
        """rows K: how many votes of each unit say each class."""
        counts = np.zeros((rows, classes))
        np.add.at(counts, (self.units, self.classes), 1)
        return counts


class Trust(NamedTuple):
    """What the votes of units and a model's predictions for them say of both."""

    annotators: Floats
    """J, the weight of each."""
    model: float
    """Its weight."""
    quality: Floats
    """U, 0 to 1: how surely the consensus of each unit is right, p_i(Y_i)."""
    consensus: NDArray[np.intp]
    """U, Y."""

    @classmethod
    def of(cls, said: Said, probs: Floats) -> "Trust":
        """`probs`, U K, of units that each have a vote; some have several."""
        counts = said.counts(*probs.shape)
        first = _majority(counts, probs)
        posterior = _estimate(said, counts, probs, first).posterior
        best = posterior.max(axis=1, keepdims=True)
        alone = (posterior == best).sum(axis=1) == 1
        consensus = np.where(alone, posterior.argmax(axis=1), first)
        made = _estimate(said, counts, probs, consensus)
        quality = made.posterior[np.arange(len(probs)), consensus]
        return cls(made.annotators, made.model, quality, consensus)


class _Estimate(NamedTuple):
    annotators: Floats  # J
    model: float
    posterior: Floats  # U K


def _estimate(said: Said, counts: Floats, probs: Floats, consensus: NDArray[np.intp]) -> _Estimate:
    rows, classes = probs.shape
    totals = counts.sum(axis=1)  # U
    several = totals > 1
    alike = counts[np.arange(rows), consensus] / totals
    likely = float(alike[several].mean())
    frequent = np.bincount(consensus[several], minlength=classes).argmax()
    error = max(LEAST, float((consensus[several] != frequent).mean()))
    annotators = np.maximum(LEAST, 1 - (1 - _agreement(said, counts)) / error)
    wrong = float((probs[several].argmax(axis=1) != consensus[several]).mean())
    model = max(LEAST, 1 - wrong / error) * math.sqrt(totals.mean())
    weight = annotators[said.annotators]  # V
    unlikely = (1 - likely) / (classes - 1)
    votes = np.zeros(rows)  # U, the weights of its votes together
    np.add.at(votes, said.units, weight)
    posterior = model * probs + (unlikely * votes)[:, None]
    np.add.at(posterior, (said.units, said.classes), weight * (likely - unlikely))
    return _Estimate(annotators, model, posterior / (model + votes)[:, None])


def _agreement(said: Said, counts: Floats) -> Floats:
    """J: of all pairs of a vote of this annotator and another vote of the same unit, the share that
    says the same."""
    of_unit = counts.sum(axis=1)[said.units]
    same, pairs = (np.zeros(said.annotators.max(initial=-1) + 1) for _ in range(2))
    np.add.at(same, said.annotators, counts[said.units, said.classes] - 1)
    np.add.at(pairs, said.annotators, of_unit - 1)
    known = pairs > 0
    shares = np.divide(same, pairs, out=np.zeros_like(same), where=known)
    return np.where(known, shares, shares[known].mean())


def _majority(counts: Floats, probs: Floats) -> NDArray[np.intp]:
    """U: the class that most votes say; of equals the one that the model finds most probable, then
    the one that is named least in all units, then the first."""
    equals = counts == counts.max(axis=1, keepdims=True)
    likely = np.where(equals, probs, -1)
    equals = likely == likely.max(axis=1, keepdims=True)
    rare = np.where(equals, counts.sum(axis=0), np.inf)
    chosen: NDArray[np.intp] = rare.argmin(axis=1)
    return chosen


def temperature(counts: Floats, probs: Floats) -> float:
    """The one at which the model's probabilities, U K, come nearest to the shares of the votes, in
    mean cross-entropy: above 1 where it is too sure."""
    shares = counts / counts.sum(axis=1, keepdims=True)

    def best(tried: Sequence[float]) -> int:
        losses = [-(shares * _log(scaled(probs, each))).sum(axis=1).mean() for each in tried]
        return int(np.argmin(losses))

    place = best(TEMPERATURES)
    ends = TEMPERATURES[max(0, place - 1) : place + 2]
    finer = np.unique([np.linspace(*pair, STEPS + 1) for pair in zip(ends, ends[1:], strict=False)])
    return float(finer[best(finer.tolist())])


def scaled(probs: Floats, temperature: float) -> Floats:
    """U K: probabilities with their logarithms divided by the temperature."""
    logits = _log(probs) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    made: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return made


def _log(probs: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(probs, SMALLEST))
    return logs
