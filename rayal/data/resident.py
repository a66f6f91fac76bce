"""Files of vectors that stay in a process once they are read: cycles and trials read the same ones.

A pass over 50,000 vectors computes for a tenth of a second; reading them anew takes as long.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import pyarrow as pa

STAYS = 2**28
"""Bytes of row groups that stay in a process; beyond it those used longest ago are read anew."""

Key = tuple[str, int, int]
"""Address, and of a file on a disk its time of change (ns) and its size: what is there may be
replaced."""

_files: OrderedDict[Key, Sequence[pa.Table]] = OrderedDict()
_one = Lock()


def row_groups(address: str, read: Callable[[], Sequence[pa.Table]]) -> Sequence[pa.Table]:
    """All row groups of the file at `address`, read once."""
    key = _key(address)
    with _one:
        if key in _files:
            _files.move_to_end(key)
            return _files[key]
    found = read()  # two threads may: both read the same
    with _one:
        _files[key] = found
        while len(_files) > 1 and sum(map(_size, _files.values())) > STAYS:
            _files.popitem(last=False)
    return found


def _size(tables: Sequence[pa.Table]) -> int:
    return sum(table.nbytes for table in tables)


def _key(address: str) -> Key:
    if "://" in address:
        return address, 0, 0
    try:
        there = os.stat(address)
    except OSError:  # reading it tells what is wrong
        return address, 0, 0
    return address, there.st_mtime_ns, there.st_size
