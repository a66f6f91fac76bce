"""Answers as files keep them: `id`, `value` and `cost` of each, in Parquet."""

import io
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.masks import LabelValue
from rayal.errors import DataError, quoted
from rayal.labeling.oracles.base import Label

VALUES: dict[type, pa.DataType] = {
    int: pa.int64(),
    np.int64: pa.int64(),
    bytes: pa.large_binary(),
    str: pa.string(),
}
"""What `value` is; a null is a refusal."""

Answer = tuple[str, LabelValue | None, float]
"""Unit, label (None: refused) and cost."""


def dump_answers(answers: Mapping[str, Label]) -> bytes:
    """What `parse_answers` reads.

    Raises DataError for a label that is neither class nor mask, or of another kind than the first,
    and for a cost that is no amount.
    """
    kind = value_type((unit, label.value) for unit, label in answers.items())
    for unit, label in answers.items():
        if not (math.isfinite(label.cost) and label.cost >= 0):
            raise DataError(
                f"unit {quoted(unit)}: the cost {quoted(label.cost)} is not an amount;"
                " it is 0 or more"
            )
    values, costs = [a.value for a in answers.values()], [a.cost for a in answers.values()]
    columns = {"id": pa.string(), "value": kind, "cost": pa.float64()}
    table = pa.table([list(answers), values, costs], schema=pa.schema(columns))
    data = io.BytesIO()
    pq.write_table(table, data, write_page_checksum=True)
    return data.getvalue()


def value_type(labels: Iterable[tuple[str, object]]) -> pa.DataType:
    """What a column of these labels, given with their units, holds.

    Raises DataError for a label that is neither class nor mask, or of another kind than the first.
    """
    given = [(unit, label) for unit, label in labels if label is not None]
    kind = VALUES.get(type(given[0][1])) if given else VALUES[int]
    for unit, label in given:
        if kind is None or VALUES.get(type(label)) != kind:
            raise DataError(
                f"unit {quoted(unit)}: the label {quoted(label)} is neither a class index nor"
                " a mask, or not what the others are; an oracle answers with one kind, or with None"
            )
    return kind


def parse_answers(data: bytes) -> Iterator[Answer]:
    """The answers that `dump_answers` wrote, in their order."""
    parquet = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    columns = parquet.read(use_threads=False).to_pydict()
    return zip(columns["id"], columns["value"], columns["cost"], strict=True)
