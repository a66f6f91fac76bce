"""The contract of a strategy that ranks or selects images of a classification task.

N units of a batch, C classes.
"""

import copy
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.cycle.checked import chosen, seen_by
from rayal.errors import RayalError
from rayal.selection.candidates import Candidates, Price, one_each
from rayal.signals.signal import SIGNAL_NAMES
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy
from rayal.testing.bench import CLASSES, UNITS, Bench
from rayal.testing.contract import PartContract

CYCLES = 0, 1
"""Without a model of the last cycle, and with one."""
TASKS = {"classification", "segmentation"}


class SelectingContract(PartContract):
    """What strategies promise whatever the task."""

    part: Strategy
    kind: ClassVar[str] = "strategy"

    def test_declares_signals_and_tasks_that_exist(self) -> None:
        """A misspelt signal would be found only on a worker, after a training."""
        part = self.part
        if unknown := sorted({*part.needs, *part.keeps, *part.kept()} - SIGNAL_NAMES):
            self.broken("to read signals that there are", f"there is no signal {unknown[0]!r}")
        if "embedding" in part.signals() and part.embeds() not in (
            *part.companions(),
            *part.fits(),
        ):
            self.broken("to say whose embedding it reads", f"`embeds` gives {part.embeds()!r}")
        if not part.tasks or part.tasks - TASKS:
            self.broken(f"tasks among {sorted(TASKS)}", f"its tasks are {sorted(part.tasks)}")

    def select(self, pool: Candidates, budget: float, seed: int = 0) -> list[str]:
        """What it selects of a pool as a run would show it: units on offer, each once, whose costs
        are within the budget and as near to it as whole units come."""
        strategy, rng = self.part, np.random.default_rng(seed)
        shown = seen_by(strategy, pool)
        try:
            return chosen(strategy, strategy.select, self.name(), shown, budget, rng)[0]
        except RayalError as error:
            self.broken(f"what a budget of {budget:g} buys of {len(pool.ids)} units", str(error))


class StrategyContract(SelectingContract):
    """What every strategy for classification promises."""

    def test_scores_are_finite_one_per_unit(self) -> None:
        """One score that is not a number stops every run that uses the strategy."""
        for cycle in CYCLES:
            scores = self._score(cycle=cycle)
            if scores is not None and not scores.isfinite().all():
                row = int(scores.isfinite().logical_not().nonzero()[0])
                self.broken(
                    "a finite score for every unit",
                    f"that of {self._ids[row]!r} is {scores[row]:g} in cycle {cycle}",
                )

    def test_a_certain_model_has_finite_scores(self) -> None:
        """A probability that underflows to 0 must not stop the run of a model that is sure."""
        bench = Bench.of(self.part)
        for network in bench.networks:
            network.get_submodule("classifier").get_parameter("weight").data *= 1e5
        for cycle in CYCLES:
            scores = bench.score(self.part, cycle=cycle)
            if scores is not None and not scores.isfinite().all():
                self.broken(
                    "finite scores also where probabilities are 0 and 1",
                    f"of a model that is certain they are {scores.tolist()[:5]} (cycle {cycle})",
                )

    def test_scores_do_not_depend_on_the_batch(self) -> None:
        """Otherwise another batch size or shard would select other units."""
        rows = range(UNITS)
        for cycle in CYCLES:
            together = self._score(cycle=cycle)
            if together is None:
                continue
            alone = torch.cat([self._scores([row], cycle) for row in rows])
            backwards = self._scores(rows[::-1], cycle).flip(0)
            for how, scores in (("alone", alone), ("in another order", backwards)):
                if len(wrong := _unlike(scores, together)):
                    row = wrong[0]
                    self.broken(
                        "scores that do not depend on the batch",
                        f"that of {self._ids[row]!r} is {together[row]:g} in a batch of {UNITS} and"
                        f" {scores[row]:g} {how} (cycle {cycle})",
                    )

    def test_leaves_the_models_alone(self) -> None:
        """Otherwise scoring would change what the next cycle trains, or another strategy sees."""
        bench = Bench.of(self.part)  # of its own, for it may be left changed
        modules = dict(zip(("model", "previous", "random"), bench.networks, strict=True))
        beside = {spec.name: companion for spec, companion in bench.companions}
        before = {name: copy.deepcopy(m.state_dict()) for name, m in (modules | beside).items()}
        modes = {name: module.training for name, module in _inner(modules | beside).items()}
        bench.score(self.part)
        for name, module in (modules | beside).items():
            now = module.state_dict()
            for key, value in before[name].items():
                if not torch.equal(value, now[key]):
                    self.broken("to leave the models as they are", f"{key} of the {name} changed")
        for name, module in _inner(modules | beside).items():
            if module.training != modes[name]:
                self.broken(
                    "to leave the models in the mode they are in",
                    f"{name} is in {'train' if module.training else 'eval'} mode now",
                )

    def test_selects_what_the_budget_buys(self) -> None:
        """Otherwise labels would be bought twice, or money left on the table."""
        ids = self.select(self._pool(np.random.default_rng(1).random(50)), 7)
        if len(ids) != 7:
            self.broken("7 of 50 units for a budget of 7", f"it selects {len(ids)}")

    def test_selects_within_the_budget_where_units_differ_in_cost(self) -> None:
        """Otherwise a run would stop at the first choice that is too dear."""
        rng = np.random.default_rng(1)
        costs = {_unit(row): cost for row, cost in enumerate(rng.integers(1, 4, 50))}

        def price(units: Ids) -> NDArray[np.float64]:
            return np.array([costs[unit] for unit in units], np.float64)

        self.select(self._pool(rng.random(50), price=price), 20)

    def test_takes_all_of_a_small_pool(self) -> None:
        """Otherwise the last cycle of a run that exhausts its pool would crash."""
        pool = self._pool(np.random.default_rng(1).random(5))
        ids = self.select(pool, 7)
        if sorted(ids) != sorted(pool.ids):
            self.broken("all of a pool of 5 for a budget of 7", f"it selects {ids}")

    def test_selects_where_features_say_nothing(self) -> None:
        """A dead layer, or a pool of one or of copies, must not end in a division by zero."""
        for units in (1, 2, 9):
            pool = self._pool(np.zeros(units))
            for rows in (*pool.kept.values(), *pool.labeled.values()):
                rows[:] = 0
            ids = self.select(pool, units)
            if sorted(ids) != sorted(pool.ids):
                self.broken(f"all of {units} units that are alike", f"it selects {ids}")

    def test_selects_nothing_from_an_empty_pool(self) -> None:
        """Otherwise a pool whose last images are all undecodable would crash."""
        if ids := self.select(self._pool(np.empty(0)), 7):
            self.broken("nothing of an empty pool", f"it selects {ids}")

    def test_selection_does_not_depend_on_the_order_of_the_pool(self) -> None:
        """Otherwise another number of shards would select other units."""
        scores = np.random.default_rng(2).integers(0, 5, 60).astype(float)  # many ties
        order = np.random.default_rng(3).permutation(60)
        one = self.select(self._pool(scores), 20)
        other = self.select(self._pool(scores, order), 20)
        if one != other:
            place = next(n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
            self.broken(
                "a choice that does not depend on the order of the pool",
                f"of {len(one)} choices number {place + 1} is {one[place]!r} of one order and"
                f" {other[place]!r} of another",
            )

    def test_breaks_ties_by_the_seed(self) -> None:
        """Otherwise equal scores would favour the same images: a bias no seed averages out."""
        pool = self._pool(np.zeros(200))
        first, again, *others = (frozenset(self.select(pool, 20, seed)) for seed in (0, 0, 1, 2))
        if first != again:
            self.broken(
                "the same choice with the same seed",
                f"of 20 units selected twice {len(first & again)} are the same",
            )
        if len({first, *others}) < 3:
            self.broken(
                "a choice of equals by the seed", "seeds 0, 1 and 2 do not all choose others"
            )

    @property
    def _bench(self) -> Bench:
        return self.once("bench", lambda: Bench.of(self.part))

    @property
    def _ids(self) -> list[str]:
        return self._bench.ids

    def _score(self, rows: Sequence[int] = range(UNITS), cycle: int = 1) -> Tensor | None:
        """The scores of these rows; None where the strategy selects without."""
        scores = self._bench.score(self.part, rows, cycle=cycle)
        if scores is None:
            if type(self.part).select is Strategy.select:
                self.broken("scores, or a select that needs none", "it has neither")
            return None
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        if shape != (len(rows),):
            self.broken("a tensor with one number per unit", f"of {len(rows)} it gives {shape}")
        return scores.detach()

    def _scores(self, rows: Sequence[int], cycle: int) -> Tensor:
        scores = self._score(rows, cycle)
        if scores is None:
            self.broken("scores of every batch", f"{len(rows)} units have none")
        return scores

    def _pool(
        self,
        scores: NDArray[np.float64],
        order: NDArray[np.intp] | slice = slice(None),
        price: Price = one_each,
    ) -> Candidates:
        """A pool where units of equal scores are equal in all that a pass keeps of them, too."""
        scored = self.once("scored", lambda: self._score() is not None)
        return Candidates(
            Ids([_unit(row) for row in range(len(scores))])[order],
            scores[order] if scored else None,
            price=price,
            kept={name: rows[order] for name, rows in _kept(scores).items()},
            labeled_ids=Ids([f"known-{row}" for row in range(4)]),
            labeled=_kept(np.arange(4) / 7),
        )


def _unit(row: int) -> str:
    return f"unit-{row:03d}"  # in the order of ids, as pools are


def _kept(scores: NDArray[np.float64]) -> dict[str, NDArray[np.float16]]:
    """Some value of every signal that a pass can keep of such units, decided by the score."""
    features = np.stack([scores, scores**2, np.sin(5 * scores), np.cos(7 * scores)], axis=1)
    logits = features @ np.random.default_rng(4).normal(size=(4, CLASSES))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    kept = {"features": features, "logits": logits, "probs": probs, "log_probs": np.log(probs)}
    kept["embedding"] = features
    return {name: rows.astype(np.float16) for name, rows in kept.items()}


def _unlike(one: Tensor, other: Tensor) -> list[int]:
    """Where two results differ by more than the order of sums."""
    close = torch.isclose(one.double(), other.double(), atol=1e-5, rtol=1e-4, equal_nan=True)
    wrong: list[int] = close.logical_not().nonzero()[:, 0].tolist()
    return wrong


def _inner(modules: dict[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """All modules in them, by where they are."""
    return {
        f"{key or 'all'} of the {name}": inner
        for name, module in modules.items()
        for key, inner in module.named_modules()
    }
