"""Random sampling, without replacement unless told: the baseline of every comparison.

Source of `replace`: the official codes of TA-VAAL (cubeyoung/TA-VAAL, 1161071) and of UncertainGCN
(razvancaramalau/Sequential-GCN-for-Active-Learning, bbc43db).

Differences of `replace` from these: a unit drawn twice is one labeled unit, where the codes train
on it twice; and candidates that were never drawn stay in the pool, from which the codes lose them.
"""

from collections.abc import Sequence
from operator import not_
from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.selection.candidates import Candidates, spend
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class Random(Strategy):
    """A uniform random order of the pool; no network runs.

    Score: a uniform number in [0, 1) of (seed, cycle, unit id); with `replace` there is none.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"noise"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"classification", "segmentation"})
    draws_at_random: ClassVar[bool] = True

    # Left out where it is false: runs that began before it was there have none.
    replace: bool = Field(default=False, exclude_if=not_)
    """Whether a unit may be drawn again (codes of TA-VAAL and UncertainGCN: true). A cycle has as
    many draws as its budget buys, and buys what it draws once: by 1,000 draws from 10,000
    candidates about 952 units. A run has more cycles until its budget is spent, and each seed its
    own numbers of labels."""

    def score(self, s: Signals) -> Tensor | None:
        return None if self.replace else s.noise

    def ranks(self, one_price: bool = True) -> bool:
        return not self.replace

    def buys_fewer(self) -> bool:
        return self.replace

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        if not self.replace:
            return super().select(pool, budget, rng)
        units = len(pool.ids)
        drawn = spend(pool, rng.integers(max(units, 1), size=units), budget)
        return pool.ids[np.array(list(dict.fromkeys(drawn.tolist())), np.intp)]
