"""The exact ranking of a finished pass, in a stream: memory for the ranks asked for and one shard.

The order is that of `selection.ranking` on the whole pool: score descending, equal scores by a
seeded key of the id. It is total, so what comes out does not depend on the shards or their order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayal.cycle.shard_file import shards
from rayal.errors import OUT, DataError, quoted
from rayal.runs.passes import Pass
from rayal.selection.candidates import tie_keys
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids

BLOCK_BYTES = 2**27
"""Up to which blocks of ranks grow."""

Eligible = Callable[[pa.Table], NDArray[np.bool_]]
"""Which rows of a table with the column `id`, and those asked for, may be ranked at all."""


class Mark(NamedTuple):
    """A place in the ranking."""

    score: float
    key: int
    unit: str

    def before(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Whether the place is before each row."""
        scores, keys = rows["score"].to_numpy(), rows["key"].to_numpy()
        equal = scores == self.score
        behind: NDArray[np.bool_] = (scores < self.score) | (equal & (keys > self.key))
        if (same := equal & (keys == self.key)).any():  # the same unit, or the two ids collide
            behind |= same & pc.greater(rows["id"], self.unit).to_numpy()
        return behind


TOP, BOTTOM = Mark(np.inf, 0, ""), Mark(-np.inf, 0, "")
"""Before all rows, and after."""


class Highest:
    """The first `count` rows of a ranking after the place `after`, of all rows that were added."""

    def __init__(self, count: int, secret: int, after: Mark = TOP) -> None:
        self.count, self.secret, self.after = count, secret, after
        self._least = BOTTOM  # nothing behind it can be among the first any more
        self._parts: list[pa.Table] = []
        self._size = 0

    def add(self, rows: pa.Table, eligible: Eligible | None = None) -> None:
        """Columns id and score, and what is to be known of the first. Keys, the dearest part, are
        made for the few rows that may be among them."""
        if not self.count:
            return
        scores = rows["score"].to_numpy()
        rows = rows.filter(pa.array((scores <= self.after.score) & (scores >= self._least.score)))
        if eligible is not None and rows.num_rows:
            rows = rows.filter(pa.array(eligible(rows)))
        rows = keyed(self._without_lower(rows), self.secret)
        rows = rows.filter(pa.array(self.after.before(rows) & ~self._least.before(rows)))
        self._parts.append(rows)
        self._size += rows.num_rows
        if self._size >= 2 * self.count:
            self._cut()

    def rows(self) -> pa.Table | None:
        """The first ones, best first, with their column `key`; None before any shard."""
        if self._parts:
            self._cut()
        return self._parts[0] if self._parts else None

    def _without_lower(self, rows: pa.Table) -> pa.Table:
        """Less the rows that others in the same table push out."""
        scores = rows["score"].to_numpy()
        surely = scores[scores < self.after.score]  # of equals some are before `after`
        if len(surely) <= self.count:
            return rows
        return rows.filter(pa.array(scores >= np.partition(surely, -self.count)[-self.count]))

    def _cut(self) -> None:
        table = pa.concat_tables(self._parts)
        order = [("score", "descending"), ("key", "ascending"), ("id", "ascending")]
        first = pc.sort_indices(table, order)[: self.count]
        self._parts, self._size = [table.take(first)], len(first)
        if self._size == self.count:
            self._least = mark(self._parts[0])


def keyed(rows: pa.Table, secret: int) -> pa.Table:
    """With the column `key`."""
    return rows.append_column("key", pa.array(tie_keys(Ids(rows["id"]), secret), pa.uint64()))


def mark(rows: pa.Table) -> Mark:
    """The place of the last row."""
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    return Mark(last["score"], last["key"], last["id"])


def highest(
    folder: Folder,
    result: Pass,
    secrets: Mapping[str, int],
    count: int,
    eligible: Eligible | None = None,
) -> dict[str, pa.Table]:
    """By strategy the first `count` ranks of a finished pass, columns id and score, in one go over
    the shards. A `tie_secret` decides the order of equals.
    """
    tops = {name: Highest(count, secret) for name, secret in secrets.items()}
    for rows in shards(folder, result, ["id", *(f"score.{name}" for name in secrets)]):
        for name, top in tops.items():
            top.add(scored(folder, rows, name), eligible)
    found = {name: top.rows() for name, top in tops.items()}
    empty = pa.table({"id": pa.array([], pa.string()), "score": pa.array([], pa.float64())})
    return {n: empty if t is None else t.select(["id", "score"]) for n, t in found.items()}


def ranked(
    folder: Folder,
    result: Pass,
    name: str,
    secret: int,
    count: int,
    columns: Sequence[str] = (),
    eligible: Eligible | None = None,
) -> Iterator[pa.Table]:
    """The whole ranking of a strategy's scores: blocks of id, score and `columns`, best first.

    The first block has `count` rows, each further one twice as many while it fits BLOCK_BYTES. For
    each the shards are read again, and `eligible` is asked again: it may have become narrower.
    """
    assert count > 0
    after = TOP
    while True:
        best = Highest(count, secret, after)
        for rows in shards(folder, result, ["id", f"score.{name}", *columns]):
            best.add(scored(folder, rows, name, columns), eligible)
        block = best.rows()
        if block is None or not block.num_rows:
            return
        yield block
        if block.num_rows < count:
            return
        after = mark(block)
        count = max(count, min(2 * count, BLOCK_BYTES * count // max(block.nbytes, 1)))


def scored(folder: Folder, rows: pa.Table, name: str, columns: Sequence[str] = ()) -> pa.Table:
    """id, score and `columns` of a shard. Raises DataError for what is no score."""
    if f"score.{name}" not in rows.schema.names:
        raise DataError(f"{folder.url}: strategy {name!r} gave no scores, and has no select")
    scores = rows[f"score.{name}"]
    finite = np.isfinite(scores.to_numpy())
    if not finite.all():
        first = int(finite.argmin())
        raise DataError(
            f"{folder.url}: the {name} score of unit {quoted(rows['id'][first].as_py())} is"
            f" {scores[first].as_py()}, not a finite number; score again, with"
            f" another {OUT}"
        )
    return pa.table({"id": rows["id"], "score": scores, **{c: rows[c] for c in columns}})
