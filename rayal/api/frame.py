"""Rows as a DataFrame."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Iterable[Any], columns: Sequence[str] | None = None) -> "DataFrame":
    """Mappings or tuples as a DataFrame with these columns, also where there is no row; what is not
    known is missing (NaN, None)."""
    import pandas

    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))
