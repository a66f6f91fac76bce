"""Machines that hold a pool, all of them this process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rayal.cycle import lots
from rayal.cycle.lots import Whole
from rayal.selection.distances import Made
from rayal.selection.holders import Here, Holder, Holders, Places
from rayal.selection.progress import Progress


class Local:
    """An engine whose machines are lots in this process."""

    def __init__(self, count: int, most: int = 0, room: int = 2**40) -> None:
        """`most`: bytes of a pool up to which it holds nothing; `room`: those that it can hold."""
        self.count, self.most, self.room, self.held = count, most, room, 0

    def holds(self, size: int) -> bool:
        return size > self.most

    def has_room(self, whole: Whole) -> bool:
        return whole.bytes <= self.room

    @contextmanager
    def hold(self, whole: Whole, progress: Progress) -> Iterator["Local"]:
        self.held += 1
        self.progress = progress
        self.read = [lots.read(lot) for lot in whole.lots(self.count)]
        yield self

    def listed(self) -> list[Any]:
        return [each.listed for each in self.read]

    def rows(self, chosen: Mapping[int, Any]) -> list[Mapping[str, Any]]:
        return [
            {name: rows[at] for name, rows in self.read[lot].kept.items()}
            for lot, at in chosen.items()
        ]

    def spread(self, positions: Sequence[Any]) -> "Local":
        self.positions = positions
        return self

    def holders(self, order: Places, kind: type[Holder], *arguments: Any) -> Holders:
        place_of = np.empty(len(order), np.intp)
        place_of[order] = np.arange(len(order))
        made = []
        for each, positions in zip(self.read, self.positions, strict=True):
            mine = np.flatnonzero(positions >= 0)
            mine = mine[np.argsort(place_of[positions[mine]])]
            kept = {name: Made(rows, order=mine) for name, rows in each.kept.items()}
            made.append(kind(place_of[positions[mine]], kept, *arguments))
        return Here(made, self.progress)
