"""Which images of a prepared dataset have the content of another one: `copies.parquet` beside it.

A row for each image that is not the first of its content: `id`, its `split`, and `first`, the id in
the pool of the first. Content is what a store holds: pixels where it holds these, else bytes.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data.card import SplitName
from rayal.storage.folder import Folder

COPIES = "copies.parquet"


class Copy(NamedTuple):
    """An image whose content was there before."""

    id: str
    split: SplitName
    first: str
    """Id of the first image of the pool with this content."""


@dataclass(frozen=True)
class Copies:
    """Images of the pool whose content is there more than once."""

    groups: tuple[tuple[str, ...], ...] = ()
    """Ids of the pool with one content, in the order of the pool: two or more in each."""
    in_test: frozenset[str] = frozenset()
    """Ids of the pool whose content a test image has."""

    @classmethod
    def of(cls, rows: Sequence[Copy]) -> "Copies":
        """From what `read` gives."""
        groups: dict[str, list[str]] = {}
        for row in rows:
            if row.split == "pool":
                groups.setdefault(row.first, [row.first]).append(row.id)
        tested = dict.fromkeys(row.first for row in rows if row.split == "test")
        return cls(
            groups=tuple(map(tuple, groups.values())),
            in_test=frozenset(unit for first in tested for unit in groups.get(first, [first])),
        )


def encode(rows: Sequence[Copy]) -> bytes:
    """The file of these."""
    columns = {
        name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in Copy._fields
    }
    data = io.BytesIO()
    pq.write_table(pa.table(columns), data)
    return data.getvalue()


def read(folder: Folder, sha256: str) -> list[Copy]:
    """What `encode` wrote there. Raises ValueError for other content than that of this digest."""
    data = folder.read(COPIES)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("its content is not what the card says")
    table = pq.read_table(pa.BufferReader(data)).to_pydict()
    return [Copy(*row) for row in zip(*table.values(), strict=True)]
