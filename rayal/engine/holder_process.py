"""The process that holds one lot of a pool, and answers what a strategy asks of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from rayal.cycle.lots import Lot, Read, read
from rayal.engine.described import described
from rayal.selection.distances import Made
from rayal.selection.holders import Holder
from rayal.storage.folder import Json


class HolderProcess:
    """Holds one lot. Every answer is `{"answer": ...}`, or describes the error in its place."""

    def __init__(self, lot: Lot, threads: int) -> None:
        torch.set_num_threads(threads)
        self.lot = lot
        self.read: Read | None = None
        self.holder: Holder | None = None

    def listed(self, _: Any) -> Json:
        """The ids of its rows, and their scores, which are not kept here."""

        def listed() -> pa.Table:
            rows = self._rows()
            self.read = rows._replace(listed=rows.listed.slice(0, 0))
            return rows.listed

        return _told(listed)

    def rows(self, _: Any, chosen: NDArray[np.intp]) -> Json:
        """These of its rows, by signal."""
        return _told(lambda: {name: rows[chosen] for name, rows in self._rows().kept.items()})

    def open(self, told: tuple[type[Holder], tuple[Any, ...]], places: NDArray[np.intp]) -> Json:
        """The place of each row in the order, -1 for one that is not in the pool, and who is to
        hold them."""

        def opened() -> None:
            kind, arguments = told
            order = np.argsort(places)[int((places < 0).sum()) :]
            kept = {name: Made(rows, order=order) for name, rows in self._rows().kept.items()}
            self.holder = kind(places[order], kept, *arguments)

        return _told(opened)

    def do(self, shared: tuple[Any, ...], method: str, *own: Any) -> Json:
        """Whatever the strategy asks its holder for."""
        return _told(lambda: getattr(self.holder, method)(*shared, *own))

    def _rows(self) -> Read:
        if self.read is None:
            self.read = read(self.lot)
        return self.read


def _told(work: Callable[[], Any]) -> Json:
    try:
        return {"answer": work()}
    except Exception as error:
        return described(error)
