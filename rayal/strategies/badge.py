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

The pool may be divided among machines: the draws are the same, from the D^2 of all units in seeded
order, which this process holds (16 bytes a unit). A holder tells only those that have changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.selection.candidates import Candidates
from rayal.selection.distances import (
    BLOCK,
    Grid,
    Made,
    Numbers,
    Rows,
    check_magnitudes,
    check_scale,
    largest,
)
from rayal.selection.greedy import buy, tie_order
from rayal.selection.holders import Holder, Holders, Places
from rayal.signals.signal import Requirement, SignalName
from rayal.strategies._features import sizes_of
from rayal.strategies.base import Strategy


class Badge(Strategy):
    """k-means++ seeding over (p - e_y) (x) a: unsure, and different from each other."""

    keeps: ClassVar[frozenset[SignalName]] = frozenset({"features", "probs"})

    def requires(self) -> frozenset[Requirement]:
        return super().requires() | {"weights"}  # those of the last layer, whose gradient it is

    def asks_holders(self) -> bool:
        return True

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        if not len(pool.ids):
            return []
        order = tie_order(pool, rng)
        holders = pool.lies.holders(order, GradientHolder)
        check_magnitudes(pool.ids, sizes_of(holders, order, "probs"), "probabilities")
        sizes = sizes_of(holders, order, "features")
        check_magnitudes(pool.ids, sizes, "features")
        width = max(holders.ask("width", "features"))
        check_scale((pool.ids, sizes), width=width, way_out="leave it out of the pool")
        classes, reach = max(holders.ask("width", "probs")), max(holders.ask("reach"))
        grids = Grid.reaching(reach, classes), Grid.reaching(float(sizes.max()), width)
        picks = (int(order[place]) for place in draw_far(holders, grids, rng))
        return pool.ids[buy(pool, picks, budget)]


Grids = tuple[Grid, Grid]
"""Of errors and of features."""


class Factors(NamedTuple):
    """What gradients are made of."""

    probs: Rows
    """N x C."""
    features: Rows
    """N x D."""


class Gradients:
    """N gradients of the last layer as factors: `errors` N x C and `features` N x D."""

    def __init__(self, probs: Rows, features: Rows, grids: Grids | None = None) -> None:
        """`grids`: null for those of these gradients alone."""
        self.errors, self.features = Made(probs, errors), features
        self.grids = grids or (Grid.of(self.errors), Grid.of(features))
        self.squared_norms = np.empty(len(probs))
        for start in range(0, len(probs), BLOCK):
            part = np.arange(start, min(start + BLOCK, len(probs)))
            e, a = (x.square().sum(dim=1) for x in self._place(part))
            self.squared_norms[part] = (e * a).numpy()

    def __len__(self) -> int:
        return len(self.squared_norms)

    def squared_distances(
        self, rows: NDArray[np.intp], others: NDArray[np.intp], of: "Gradients | None" = None
    ) -> NDArray[np.float64]:
        """Rows x others, in steps: 0 exactly between equal units. `of`: whose the others are, on
        the same grids; null: its own."""
        of = of or self
        (e, a), (other_e, other_a) = self._place(rows), of._place(others)
        products = ((e @ other_e.T) * (a @ other_a.T)).numpy()
        norms = self.squared_norms[rows, None] + of.squared_norms[others]
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


class GradientHolder(Holder):
    """Gradients of units, and `far`: D^2 of each."""

    unit_bytes: ClassVar[int] = 24  # place, squared norm, D^2

    def __init__(self, places: Places, kept: Mapping[str, Rows]) -> None:
        super().__init__(places, kept)
        self.probs, self.features = kept["probs"], kept["features"]

    def reach(self) -> float:
        """The largest magnitude of all errors."""
        return largest(Made(self.probs, errors))

    def begin(self, grids: Grids, picks: Factors) -> None:
        """With the picks of all holders so far."""
        self.gradients = Gradients(self.probs, self.features, grids)
        self.far = np.full(len(self), np.inf)
        for start in range(0, len(picks.probs), BLOCK):
            self.shrink(Factors(*(rows[start : start + BLOCK] for rows in picks)))

    def largest(self) -> tuple[float, int]:
        """Squared norm, and negative place, of the first that has the largest."""
        if not len(self):
            return -np.inf, 0
        unit = int(self.gradients.squared_norms.argmax())
        return float(self.gradients.squared_norms[unit]), -int(self.places[unit])

    def all_far(self) -> NDArray[np.float64]:
        """n, D^2."""
        return self.far

    def shrink(self, new: Factors) -> tuple[Places, NDArray[np.float64]]:
        """Brings D^2 up to date with more picks. Returns the places where it has changed, and what
        it is there."""
        picks = Gradients(*new, self.gradients.grids)
        every, changed = np.arange(len(picks)), [np.empty(0, np.intp)]
        for start in range(0, len(self) if len(picks) else 0, BLOCK):
            part = np.arange(start, min(start + BLOCK, len(self)))
            to_picks = self.gradients.squared_distances(part, every, picks).min(axis=1)
            nearer = to_picks < self.far[part]
            self.far[part[nearer]] = to_picks[nearer]
            changed.append(part[nearer])
        units = np.concatenate(changed)
        return self.places[units], self.far[units]


ROUND = 64
"""Draws after which D^2 of all units is brought up to date."""


def draw_far(holders: Holders, grids: Grids, rng: np.random.Generator) -> Iterator[int]:
    """All N places: the largest norm, then draws by D^2, then what has none left, in order.

    A round draws from the D^2 that it started with, which can only have shrunk since, and accepts a
    draw with the share of it that is left: rejection sampling, so the accepted are distributed by
    the D^2 of now. It replaces a pass over the features for each pick by one matrix product for a
    round. Draws invert the distribution function over units in order.
    """
    if not holders.size:
        return
    drawing = _Drawing(holders, grids)
    yield from drawing.picks
    if not drawing.picks:
        yield drawing.take_largest()
    for _ in range(drawing.rounds):
        rng.random(2 * ROUND)  # were drawn by a process that is no more
    while True:
        until = np.cumsum(drawing.far)
        if until[-1] == 0:
            break
        # a place and a share in turn
        uniform = rng.random(2 * ROUND).reshape(ROUND, 2)
        places = np.searchsorted(until, uniform[:, 0] * until[-1], side="right")
        new = list[int]()  # which of the draws were accepted
        gradients = drawing.gradients(places)
        for draw, place in enumerate(places.tolist()):
            left = drawing.far[place]
            if new:
                to_new = gradients.squared_distances(np.array([draw]), np.array(new))
                left = min(left, to_new.min())
            if uniform[draw, 1] * drawing.far[place] < left:
                new.append(draw)
                yield place
        drawing.take(places[new])
    taken = np.zeros(holders.size, dtype=bool)
    taken[drawing.picks] = True
    yield from np.flatnonzero(~taken).tolist()


class _Drawing:
    """The picks so far, and D^2 of all units by place."""

    def __init__(self, holders: Holders, grids: Grids) -> None:
        self.holders, self.grids = holders, grids
        self.picks: list[int] = list(holders.progress.picks)
        self.rounds: int = holders.progress.state.get("rounds", 0)
        """Of draws, that are over."""
        holders.start(lambda of: holders.ask("begin", grids, self._factors(self.picks), of=of))
        self.far = np.full(holders.size, np.inf)
        if self.picks:
            self.far = holders.whole(holders.ask("all_far"))

    def take_largest(self) -> int:
        place = -int(max(self.holders.ask("largest"))[1])
        self._add([place])
        return place

    def take(self, places: Places) -> None:
        """The accepted draws of a round."""
        self.rounds += 1
        self._add(places.tolist())

    def gradients(self, places: Places) -> Gradients:
        return Gradients(*self._factors(places), self.grids)

    def _add(self, picks: list[int]) -> None:
        for places, far in self.holders.ask("shrink", self._factors(picks)):
            self.far[places] = far
        self.picks += picks
        self.holders.progress.add(picks, rounds=self.rounds)

    def _factors(self, picks: Sequence[int] | Places) -> Factors:
        places = np.asarray(picks, np.intp)
        return Factors(*(self.holders.gather(places, signal) for signal in Factors._fields))
