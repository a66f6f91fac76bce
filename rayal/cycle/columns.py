"""What the strategies of a pass say of some images, batch by batch, as columns of a table.

N images. The same code for a worker's shard and for images in the memory of a process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayal.blame import located
from rayal.data.tasks.base import Task
from rayal.errors import DataError, RayalError, UsageError, quoted
from rayal.signals.batch import Signals
from rayal.signals.signal import signal_of
from rayal.strategies.base import Strategy

TRY = "try it without a run, with rayal.testing.check"
KEPT = torch.float16
"""Of what a pass keeps for the selection."""

UNSEEN = frozenset({"model", "companion", "images"})
"""With these a strategy computes numbers of its own, which nobody else sees."""

Batches = Callable[[slice, int], Signals]
"""The signals of some rows, filled up with so many more of the last one."""


@dataclass(frozen=True)
class Columns:
    """Which columns there are, and how many images are looked at together.

    A short batch is filled up with its last image: networks then always see one shape, so a unit's
    score does not depend on the size of its shard.
    """

    strategies: Mapping[str, Strategy]
    """By the name of their column."""
    task: Task
    cycle: int
    batch: int
    keeps_probs: bool = False
    keeps_predicted: bool = False
    keeps_features: bool = False
    keeps: bool = True
    """Whether what strategies keep for their selection is among them."""

    def of(self, ids: Sequence[str], batches: Batches) -> dict[str, NDArray[Any]]:
        """Scores and kept signals of these units. Raises DataError for a number that is not finite.

        `batches` gives the signals of rows of `ids`.
        """
        columns = self.computed(ids, batches)
        for name, column in columns.items():
            self._check_finite(name, column, ids, batches)
        return columns

    def computed(self, ids: Sequence[str], batches: Batches) -> dict[str, NDArray[Any]]:
        """As `of`, whatever the numbers are."""
        parts: dict[str, list[Tensor]] = {}
        for start in range(0, len(ids), self.batch):
            rows = slice(start, start + self.batch)
            for name, values in self._batch(ids, rows, batches).items():
                parts.setdefault(name, []).append(values)
        # moved once a shard: every move makes a GPU wait
        return {name: torch.cat(values).cpu().numpy() for name, values in parts.items()}

    def _batch(
        self, ids: Sequence[str], rows: slice, batches: Batches, kept: torch.dtype = KEPT
    ) -> dict[str, Tensor]:
        count = len(ids[rows])
        signals = batches(rows, self.batch - count)
        columns: dict[str, Tensor] = {}
        for name, strategy in self.strategies.items():
            view = strategy.view(signals, name)
            score = _score(name, strategy, view, self.task)
            if score is not None:
                columns[f"score.{name}"] = score[:count].double() + 0.0  # people read -0
            # sets have another order in every process
            for signal in sorted(strategy.kept_names() if self.keeps else ()):
                columns[f"keep.{signal}"] = getattr(view, signal_of(signal))[:count].to(kept)
        if self.keeps_features:
            columns["keep.features"] = signals.features[:count].to(kept)
        if self.keeps_probs:
            columns["probs"] = signals.probs[:count].half()
        if self.keeps_predicted:
            columns["predicted"] = signals.logits[:count].argmax(dim=1).int()
        return columns

    def _check_finite(
        self, name: str, values: NDArray[Any], ids: Sequence[str], batches: Batches
    ) -> None:
        finite = np.isfinite(values)
        if finite.all():
            return
        first = np.argwhere(~finite)[0]
        row = int(first[0])
        if name.startswith("keep."):
            self._check_kept(name, ids, row, batches)
        else:
            self._check_read(name.removeprefix("score."), values[row], ids, row, batches)
        raise DataError(
            f"{name} of {quoted(ids[row])} is {values[tuple(first)]}; "
            "a model that diverged gives such numbers: train it with a lower learning rate"
        )

    def _check_read(
        self, name: str, value: float, ids: Sequence[str], row: int, batches: Batches
    ) -> None:
        """Raises DataError where all is finite that this strategy read: its formula is not."""
        strategy = self.strategies.get(name)
        if strategy is None or strategy.signals() & UNSEEN:
            return
        start = row - row % self.batch
        rows = slice(start, start + self.batch)
        signals = batches(rows, self.batch - len(ids[rows]))
        _score(name, strategy, strategy.view(signals, name), self.task)
        if signals.all_finite():
            raise DataError(
                f"strategy {name!r} gave {quoted(ids[row])} the score {value}, and all that it read"
                " of the model is finite: its own formula makes that, as a logarithm of 0 or a"
                " division by 0 does; keep it finite there, rayal.testing.check tries it"
            )

    def _check_kept(self, name: str, ids: Sequence[str], row: int, batches: Batches) -> None:
        """Raises DataError where a kept number of this row is only too large to be kept."""
        start = row - row % self.batch
        rows = slice(start, start + self.batch)
        whole = self._batch(ids, rows, batches, kept=torch.float32)[name][row - start]
        if whole.isfinite().all():
            signal = name.removeprefix("keep.")
            those = [n for n, each in self.strategies.items() if signal in each.kept_names()]
            who = f"other strategies than {', '.join(those)}"
            if self.keeps_features and signal == "features":
                who = "no guards.min_distance"
            raise DataError(
                f"{signal} of {quoted(ids[row])} are up to {whole.abs().max():g}, and rayal"
                f" keeps them as float16, which ends at {torch.finfo(KEPT).max:g}; use a network"
                f" whose last block is normalised, or {who}"
            )


def _score(name: str, strategy: Strategy, view: Signals, task: Task) -> Tensor | None:
    try:
        values = strategy.score(view)
    except (RayalError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's own strategy may raise anything
        raise DataError(f"strategy {name!r} raised {located(error)}") from error
    if values is None and type(strategy).select is not Strategy.select:
        return None
    if not isinstance(values, Tensor) or values.is_complex():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise DataError(
            f"strategy {name!r} gave {kind} as scores: score returns a tensor of numbers, or None"
            " where select is its own"
        )
    try:
        per_unit = task.per_unit(values.detach(), view.valid)
    except UsageError as error:
        raise DataError(f"strategy {name!r}: {error}; {TRY}") from None
    if per_unit.shape != (len(view.ids),):
        raise DataError(
            f"strategy {name!r} gave scores of shape {tuple(values.shape)}"
            f" for {len(view.ids)} units: score returns one number for each; {TRY}"
        )
    return per_unit
