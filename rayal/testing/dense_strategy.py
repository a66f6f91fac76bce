"""The contract of a strategy for segmentation: what it promises of whole passes over scenes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rayal.cycle import shard_file
from rayal.cycle.score import ScoreJob, ShardTask, summary
from rayal.cycle.scorer import Scorer
from rayal.engine.local import LocalEngine
from rayal.errors import RayalError
from rayal.experiment.compute import Compute
from rayal.selection.candidates import Candidates
from rayal.signals.signal import signal_of
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy
from rayal.testing.passes import (
    POOL,
    UNITS,
    Columns,
    Pixelwise,
    clicks,
    on_larger_canvas,
    pass_of,
    regions,
    states,
)
from rayal.testing.strategy import CYCLES, SelectingContract

LABELED = 3
BUDGET, CLICKS = 5, 40
"""What is bought of the other 9 images, and of their regions."""
LOCAL = LocalEngine(Compute(engine="local", device="cpu"))

T = TypeVar("T")


class Passes(NamedTuple):
    """One cycle's columns, of passes that differ in what must not matter."""

    whole: Columns
    same: dict[str, Columns]
    """In the same batches, filled up: every bit is the same."""
    close: dict[str, Columns]
    """In batches of another size: the same but for the order of sums."""
    changed: list[str]
    """What is another in the networks than before."""


class DenseStrategyContract(SelectingContract):
    """What every strategy for segmentation promises."""

    def test_scores_are_finite_one_per_image(self) -> None:
        """One score that is not a number stops every run that uses the strategy."""
        for cycle in CYCLES:
            scores = self._scores(self._passes(cycle).whole)
            if scores is None and type(self.part).select is Strategy.select:
                self.broken("scores, or a select that needs none", "it has neither")
            if scores is not None and (scores.shape != (UNITS,) or not np.isfinite(scores).all()):
                self.broken("a finite score for every image", f"it gives {scores} (cycle {cycle})")

    def test_scores_do_not_depend_on_the_batch(self) -> None:
        """Otherwise another batch size, order or shard would select other images."""
        for cycle in CYCLES:
            passes = self._passes(cycle)
            for others, tolerance in ((passes.same, 0.0), (passes.close, 1e-4)):
                for how, columns in others.items():
                    self._require_alike(
                        "scores that do not depend on the batch",
                        self._scores(passes.whole),
                        self._scores(columns),
                        f"{how} (cycle {cycle})",
                        tolerance,
                    )

    def test_leaves_the_models_alone(self) -> None:
        """Otherwise scoring would change what the next cycle trains, or another strategy sees."""
        for cycle in CYCLES:
            if changed := self._passes(cycle).changed:
                self.broken("to leave the models as they are", f"{changed[0]} changed")

    def test_what_is_beside_an_image_is_not_scored(self) -> None:
        """Otherwise images of mixed sizes, which lie on a canvas, would be chosen for their shape.
        Where the network does not see the filling the score is that without it."""
        with TemporaryDirectory() as folder:
            job = pass_of({self.name(): self.part}, Folder(folder), model=Pixelwise())
            alone = self._scored(job, range(UNITS))
            padded = self._asked(lambda: on_larger_canvas(job, 29, 37))
        self._require_alike(
            "scores of images alone, without what fills their canvas (see Signals.valid)",
            self._scores(alone),
            self._scores(padded),
            "on a larger canvas",
            2e-5,
        )

    def test_shards_do_not_choose(self) -> None:
        """Otherwise another machine would label other images."""
        one, *others = (self._picks(rows) for rows in (UNITS, UNITS // 2, UNITS // 3))
        for other in others:
            if other != one:
                self.broken(
                    "the same choice however the pool is divided",
                    f"it selects {one} of one shard and {other} of several",
                )

    def test_labeled_images_are_not_chosen(self) -> None:
        """Otherwise a label would be paid for twice. (Of a labeled image regions may be left.)"""
        again = sorted(set(self._picks(UNITS)) & set(POOL.ids[:LABELED]))
        if again:
            self.broken("to choose what is on offer", f"{again[0]!r} is labeled")

    def test_selects_nothing_from_an_empty_pool(self) -> None:
        """Otherwise a pool whose last images are all undecodable would crash."""
        columns = self._passes(1).whole
        rows = {n.removeprefix("keep."): v[:0] for n, v in columns.items() if n[:5] == "keep."}
        kept: dict[str, NDArray[Any]] = {signal_of(name): none for name, none in rows.items()}
        scores = None if self._scores(columns) is None else np.empty(0)
        if ids := self.select(Candidates(Ids([]), scores, kept=kept, labeled=kept), BUDGET):
            self.broken("nothing of an empty pool", f"it selects {ids}")

    def _passes(self, cycle: int) -> Passes:
        return self.once(f"passes of cycle {cycle}", lambda: self._passed(cycle))

    def _passed(self, cycle: int) -> Passes:
        with TemporaryDirectory() as folder:
            job = pass_of({self.name(): self.part}, Folder(folder), cycle=cycle)
            scorer = Scorer(job, "cpu")
            others = {size: Scorer(job.with_batch(size), "cpu") for size in (5, 1)}
        before = {name: value.clone() for name, value in states(scorer).items()}
        rows = range(UNITS)
        whole = self._columns(scorer, rows)
        backwards = self._columns(scorer, rows[::-1])
        alone = [self._columns(scorer, [row]) for row in rows]
        after = states(scorer)
        return Passes(
            whole,
            {
                "in another order": {name: v[::-1] for name, v in backwards.items()},
                "alone": {n: np.concatenate([each[n] for each in alone]) for n in alone[0]},
            },
            {f"in batches of {n}": self._columns(other, rows) for n, other in others.items()},
            [n for n, v in before.items() if n not in after or not torch.equal(v, after[n])],
        )

    def _picks(self, rows: int) -> list[str]:
        return self.once(f"picks of shards of {rows}", lambda: self._picked(rows))

    def _picked(self, rows: int) -> list[str]:
        """What it chooses after a pass in shards of so many images, some of which are labeled."""
        strategy, name, tasks = self.part, self.name(), [ShardTask(s) for s in POOL.shards(rows)]
        with TemporaryDirectory() as folder:
            job = pass_of({name: strategy}, Folder(folder))
            scored = self._asked(lambda: list(LOCAL.score(job, tasks)))
            result = summary(job, tasks, scored)
            labeled = POOL.ids[:LABELED]
            pool = shard_file.load(Folder(job.out), result, strategy.kept_names(), labeled)[name]
        if strategy.divides_images:
            return self.select(replace(pool, regions=regions, price=clicks), CLICKS)
        return self.select(pool, BUDGET)

    def _columns(self, scorer: Scorer, rows: Sequence[int]) -> Columns:
        return self._asked(lambda: scorer.columns(POOL.decoded(rows)))

    def _scored(self, job: ScoreJob, rows: Sequence[int]) -> Columns:
        return self._columns(Scorer(job, "cpu"), rows)

    def _scores(self, columns: Columns) -> NDArray[np.float64] | None:
        """Its own; None where it selects without."""
        return columns.get(f"score.{self.name()}")

    def _asked(self, ask: Callable[[], T]) -> T:
        """What a pass gives, or what is wrong with the strategy in the pass's words."""
        try:
            return ask()
        except RayalError as error:
            self.broken("a finite score for every image", str(error))

    def _require_alike(
        self,
        promise: str,
        expected: NDArray[np.float64] | None,
        scores: NDArray[np.float64] | None,
        how: str,
        tolerance: float,
    ) -> None:
        if expected is None or scores is None:
            if expected is not scores:
                self.broken("scores of every batch", f"there are none {how}")
            return
        if len(
            wrong := np.flatnonzero(
                ~np.isclose(scores, expected, rtol=tolerance, atol=tolerance / 10)
            )
        ):
            row = wrong[0]
            self.broken(
                promise,
                f"that of {POOL.ids[row]!r} is {expected[row]:.9g} and {scores[row]:.9g} {how}",
            )
