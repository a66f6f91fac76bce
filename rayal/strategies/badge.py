"""BADGE: a batch of large and diverse gradients, by k-means++ sampling.

Source: Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (ICLR
2020), Algorithm 1; official code JordanAsh/badge a2d18ac. The gradient of the loss at the predicted
label y, with respect to the last layer, is g = (p - e_y) (x) a: an outer product of C x D numbers.

It is never built: |g - g'|^2 = |e|^2 |a|^2 + |e'|^2 |a'|^2 - 2 (e.e') (a.a'), e = p - e_y, takes
the memory of p and a. As in the official code the first pick has the largest norm; each further one
is drawn with probability proportional to D^2, the squared distance to the nearest pick.

Differences:
- p is kept in float16, to which everything above 0.9998 is 1. The entry of the predicted class is
  therefore minus the sum of the others, which float16 holds with full relative precision.
- Dot products are exact on a grid (see `distances`): equal units are exactly 0 apart, and are never
  drawn while another one is not.
- Where all D^2 are 0, units follow in seeded order; the official code fails.
- D^2 is brought up to date for many picks at once; `draw_far` says why the draws are still exact.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.selection.candidates import Candidates
from rayal.selection.distances import BLOCK, Grid, Made, Numbers, Rows, check_finite, check_scale
from rayal.selection.greedy import buy, tie_order
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Badge(Strategy):
    """k-means++ seeding over (p - e_y) (x) a: unsure, and different from each other."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"features", "probs"})

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        if not len(pool.ids):
            return []
        probs, features = pool.kept["probs"], pool.kept["features"]
        check_finite(pool.ids, probs, "probabilities")
        check_finite(pool.ids, features, "features")
        check_scale((pool.ids, features), way_out="leave it out of the pool")
        order = tie_order(pool, rng)
        return pool.ids[buy(pool, draw_far(Gradients(probs, features), order, rng), budget)]


class Gradients:
    """N gradients of the last layer as factors: `errors` N x C and `features` N x D."""

    def __init__(self, probs: Rows, features: Rows) -> None:
        self.errors, self.features = Made(probs, errors), features
        self.grids = Grid.of(self.errors), Grid.of(features)
        self.squared_norms = np.empty(len(probs))
        for start in range(0, len(probs), BLOCK):
            part = np.arange(start, min(start + BLOCK, len(probs)))
            e, a = (x.square().sum(dim=1) for x in self._place(part))
            self.squared_norms[part] = (e * a).numpy()

    def squared_distances(
        self, rows: NDArray[np.intp], others: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Rows x others, in steps: 0 exactly between equal units."""
        (e, a), (other_e, other_a) = self._place(rows), self._place(others)
        products = ((e @ other_e.T) * (a @ other_a.T)).numpy()
        norms = self.squared_norms[rows, None] + self.squared_norms[others]
        squared: NDArray[np.float64] = np.maximum(norms - 2 * products, 0)
        return squared

    def _place(self, rows: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor]:
        e, a = self.grids
        return e.place(self.errors[rows]), a.place(self.features[rows])


def errors(probs: Numbers) -> NDArray[np.float32]:
    """p - e_y of the predicted class y, N C; each row sums to 0."""
    e = probs.astype(np.float32)
    predicted = e.argmax(axis=1)[:, None]
    np.put_along_axis(e, predicted, 0, axis=1)
    np.put_along_axis(e, predicted, -e.sum(axis=1, keepdims=True), axis=1)
    return e


ROUND = 64
"""Draws after which D^2 of all units is brought up to date."""


def draw_far(
    gradients: Gradients, order: NDArray[np.intp], rng: np.random.Generator
) -> Iterator[int]:
    """All N positions: the largest norm, then draws by D^2, then what has none left, in `order`.

    A round draws from the D^2 that it started with, which can only have shrunk since, and accepts a
    draw with the share of it that is left: rejection sampling, so the accepted are distributed by
    the D^2 of now. It replaces a pass over the features for each pick by one matrix product for a
    round. Draws invert the distribution function over units in `order`.
    """
    if not len(order):
        return
    picks = [int(order[gradients.squared_norms[order].argmax()])]  # the first of equals
    yield picks[0]
    far = np.full(len(order), np.inf)
    new = picks
    while True:
        _shrink(far, gradients, order, new)
        until = np.cumsum(far)
        if until[-1] == 0:
            break
        new = []
        for _ in range(ROUND):
            place = int(np.searchsorted(until, rng.random() * until[-1], side="right"))
            unit = int(order[place])
            left = far[place]
            if new:
                left = min(left, gradients.squared_distances(np.array([unit]), np.array(new)).min())
            if rng.random() * far[place] < left:
                new.append(unit)
                yield unit
        picks += new
    taken = np.zeros(len(order), dtype=bool)
    taken[picks] = True
    yield from (int(unit) for unit in order if not taken[unit])


def _shrink(
    far: NDArray[np.float64], gradients: Gradients, order: NDArray[np.intp], picks: list[int]
) -> None:
    """Bring the squared distances to the nearest pick up to date with new picks."""
    for start in range(0, len(order), BLOCK):
        part = order[start : start + BLOCK]
        to_picks = gradients.squared_distances(part, np.array(picks)).min(axis=1)
        far[start : start + BLOCK] = np.minimum(far[start : start + BLOCK], to_picks)
