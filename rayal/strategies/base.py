"""The contract of a strategy: what it needs to know, how it scores a batch, how it selects."""

from collections.abc import Collection, Iterable, Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rayal.data.tasks.base import ForTasks, Task
from rayal.labeling.oracles.base import Oracle
from rayal.models.companions.base import CompanionSpec
from rayal.selection.scored import Scored, take_highest
from rayal.signals.batch import Reference, SignalName, Signals


class Strategy(ForTasks):
    """One way to decide which units are labeled next; its fields are its hyperparameters.

    `score` runs on the workers, batch by batch; `select` runs once on the driver. Both are pure:
    the same batch, seed and cycle give the same answer wherever they run.
    """

    kind: ClassVar[str] = "strategies"
    needs: ClassVar[frozenset[SignalName]] = frozenset()
    """Signals that `score` reads; reading another one is an error."""
    keeps: ClassVar[frozenset[SignalName]] = frozenset()
    """Signals that `select` reads: one small row per unit, stored by the pass."""
    scans_labeled: ClassVar[bool] = False
    """Whether `select` reads what the pass keeps of the labeled units too."""

    def kept(self) -> frozenset[SignalName]:
        """`keeps`, less what this configuration does without."""
        return self.keeps

    def files(self) -> dict[str, str]:
        """Field -> file that decides what is selected: a run is tied to its content."""
        return {}

    def contradictions(self, task: Task, oracle: Oracle, ensemble: int) -> Iterator[str]:
        """Why it cannot be used as it is configured, on a task that it supports, beside this oracle
        and with so many models; each goes on from the strategy's name."""
        if "ensemble_log_probs" in self.needs and ensemble < 2:
            yield "needs an ensemble; set `ensemble` to 2 or more (5 in the literature)"

    def check(self, ids: Collection[str]) -> None:
        """Raises what is wrong for these units whatever the model: asked before any training."""

    def reference(self, cycle: int) -> Reference | None:
        """The model behind `previous_probs` in this cycle; None where it reads none."""
        return None

    def companions(self) -> tuple[CompanionSpec, ...]:
        """What has to live beside the model through training, whatever the scheme."""
        return ()

    def score(self, s: Signals) -> Tensor | None:
        """N or N H W, higher = label sooner; None where `select` does all the work."""
        return None

    def ranks(self, one_price: bool = True) -> bool:
        """Whether it takes the highest scores, for which the pool need not be in memory.

        `one_price`: every unit costs 1.
        """
        return type(self).select is Strategy.select

    def select(self, pool: Scored, budget: float, rng: np.random.Generator) -> NDArray[np.intp]:
        """Positions in `pool` to label, in order of preference, whose costs fit the budget."""
        return take_highest(pool, budget, rng)


def columns(strategies: Iterable[Strategy]) -> dict[str, Strategy]:
    """Strategies by the name of their column: a second one of the same name becomes `cod#2`."""
    found: dict[str, Strategy] = {}
    for strategy in strategies:
        name, count = strategy.part_name(), 1
        while (column := name if count == 1 else f"{name}#{count}") in found:
            count += 1
        found[column] = strategy
    return found
