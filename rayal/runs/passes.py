"""What scoring passes result in: of candidates of a run or of a pool, and of their shards."""

from typing import Any

from rayal.runs.result import File, Result


class Pass(Result):
    """A finished scoring pass, over candidates of a run or over a pool."""

    units: int
    """How many ids have a row, those that could not be decoded included."""
    columns: tuple[str, ...]
    """The strategies that scored, by the name of their column."""
    options: dict[str, Any] | None = None
    """By column the strategy itself; None where an older rayal did not say."""
    shards: tuple[File, ...]


class PoolScored(Pass):
    """The pass of `rayal score`."""

    bad: int
    """How many images could not be decoded."""
    classes: tuple[str, ...]
    images_per_second: float
    """Of those that the attempt which finished scored itself."""
    seconds: float
    """Of that attempt."""


class ScoredShard(Result):
    """One shard of a scoring pass, as its worker tells it."""

    shard: int
    """Its number."""
    rows: int
    bad: int
    """How many of the rows could not be decoded."""
    first_bad: tuple[str, str] | None
    """Id and reason of the first of them, in the order of ids."""
    file: File
    seconds: float
    ranges: dict[str, tuple[float, float]] = {}
    """The lowest and the highest score of each strategy that gives some."""


class FastestBatch(Result):
    """How many images a pass scores at a time, and what was measured to find out."""

    batch: int
    tried: tuple[dict[str, Any], ...] = ()
    """Of each size: `batch`, `images_per_second`, and `bytes` beside the models."""
