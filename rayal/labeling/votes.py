"""What people said of units: every answer of every annotator, kept as it came, in Parquet."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.masks import LabelValue
from rayal.labeling.answers import value_type

IMPORTED = "labeled"
"""The `source` of labels that were there before anybody was asked; they cost nothing."""
VOTES = "votes.parquet"
"""The file of a label stage that keeps them."""


class Vote(NamedTuple):
    """One answer of one annotator."""

    unit: str
    value: LabelValue | None
    """A class, or a mask; None where the annotator skipped it."""
    annotator: str = ""
    """As the tool calls them; empty where nobody said."""
    seconds: float | None = None
    """Time that it took; None where nobody measured."""
    at: str = ""
    """When it was given, as the tool says it."""
    source: str = ""
    """sha256 of the file that it came in; empty where it was told from Python."""


NO_VOTES: Mapping[str, Sequence[Vote]] = {}
"""Of units, where nobody was asked before."""


def dump_votes(votes: Sequence[Vote]) -> bytes:
    """What `parse_votes` reads.

    Raises DataError for a label that is neither class nor mask, or of another kind than the first.
    """
    kind = value_type((vote.unit, vote.value) for vote in votes)
    columns = {
        "id": pa.string(),
        "value": kind,
        "annotator": pa.string(),
        "seconds": pa.float64(),
        "at": pa.string(),
        "source": pa.string(),
    }
    rows = [*zip(*votes, strict=True)] or [()] * len(columns)
    table = pa.table([list(row) for row in rows], schema=pa.schema(columns))
    data = io.BytesIO()
    pq.write_table(table, data, write_page_checksum=True)
    return data.getvalue()


def parse_votes(data: bytes) -> list[Vote]:
    """The votes that `dump_votes` wrote, in their order; or the answers of a rayal that knew no
    annotators."""
    parquet = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    columns = parquet.read(use_threads=False).to_pydict()
    if "annotator" not in columns:
        return [Vote(*row) for row in zip(columns["id"], columns["value"], strict=True)]
    return [Vote(*row) for row in zip(*columns.values(), strict=True)]


def by_unit(votes: Iterable[Vote]) -> dict[str, list[Vote]]:
    """Unit -> its votes, in the order in which they came."""
    found = dict[str, list[Vote]]()
    for vote in votes:
        found.setdefault(vote.unit, []).append(vote)
    return found
