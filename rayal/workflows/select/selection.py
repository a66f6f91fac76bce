"""What `rayal select` chose, as a table for people and programs."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.cycle import told
from rayal.cycle.guarded import Distances
from rayal.errors import counted
from rayal.storage import csv_file


@dataclass(frozen=True)
class Selection:
    """K units, best first, and why."""

    ids: list[str]
    scores: list[float] | None
    """None for a strategy without scores."""
    reasons: list[str]
    spent: float
    """Cost of these units, in the budget's unit."""
    passed_over: Mapping[str, int]
    """How many units of the pass were left out on the way down, by cause."""
    predicted: list[str] | None = None
    """The most probable class of each, as the model has it; None where the pass does not say."""
    short: str = ""
    """Why it is less than the budget buys, where the limits or the pool say so."""
    distances: Distances | None = None
    """How far apart features are, where `min_distance` asked."""

    @property
    def shortfall(self) -> str:
        """What goes on from the cost, where `short` says something."""
        return self.short and f" {self.short}"

    def lines(self) -> list[str]:
        """What to tell people."""
        classes = told.balance(self.predicted)
        return [
            f"selected     {counted(len(self.ids), 'unit')}, cost {self.spent:g}{self.shortfall}",
            *told.lines(self.ids, self.passed_over, classes, self.distances),
        ]

    def table(self) -> pa.Table:
        """rank (from 1), id, score, predicted, reason, and where distances are known those to the
        nearest labeled unit and to the nearest of a better rank; null where there is none."""
        kinds = {name: pa.string() for name in ("nearest_labeled", "nearest_chosen")}
        beside = told.columns(self.distances)
        return pa.table(
            {
                "rank": pa.array(range(1, len(self.ids) + 1), pa.int64()),
                "id": pa.array(self.ids, pa.string()),
                "score": pa.array(self.scores or repeat(None, len(self.ids)), pa.float64()),
                "predicted": pa.array(self.predicted or repeat(None, len(self.ids)), pa.string()),
                "reason": pa.array(self.reasons, pa.string()),
                **{
                    name: pa.array(values, kinds.get(name, pa.float64()))
                    for name, values in beside.items()
                },
            }
        )

    def csv(self) -> bytes:
        """The table for people; `parquet` has the ids as they are."""
        table = self.table().to_pydict()
        return csv_file.dump([*table], zip(*table.values(), strict=True)).encode()

    def parquet(self) -> bytes:
        """The table for programs."""
        data = io.BytesIO()
        pq.write_table(self.table(), data, write_page_checksum=True)
        return data.getvalue()
