"""Who holds the rows of a pool: one object of this process, or many on the machines of a cluster.

A strategy that `asks_holders` writes what a holder does with its own units as a subclass of
`Holder`, asks all of them at once, and merges what they answer. A unit is known by its place in the
seeded order of equals: of two that are equal the lower place comes first, whoever holds them. So
where answers are exact, no pick depends on how the pool is divided.

N units of the pool, n of a holder.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rayal.selection.distances import Made, Numbers, Rows, magnitudes
from rayal.selection.progress import Progress

Places = NDArray[np.intp]


class Holder:
    """Some units of a pool. Its methods are called by name, with what can be sent to a process; an
    array among it is not to be written to."""

    unit_bytes: ClassVar[int] = 8
    """Memory for a unit beside its rows: the place, and what a strategy keeps."""

    def __init__(self, places: Places, kept: Mapping[str, Rows]) -> None:
        """`places`, n, ascending; `kept`: rows by signal, n x width."""
        self.places, self.kept = places, kept

    def __len__(self) -> int:
        return len(self.places)

    def width(self, signal: str) -> int:
        return int(self.kept[signal].shape[1])

    def magnitudes(self, signal: str) -> Numbers:
        """n, of each row the largest magnitude."""
        return magnitudes(self.kept[signal])

    def rows(self, places: Places, signal: str) -> Numbers:
        """Those of its units at these places, which must be among them."""
        rows: Numbers = self.kept[signal][np.searchsorted(self.places, places)]
        return rows

    def own(self, places: Places) -> NDArray[np.intp]:
        """Which of its units, 0 to n - 1, are among those at these places, in their order."""
        spots = np.searchsorted(self.places, places)
        there = spots < len(self.places)
        there[there] = self.places[spots[there]] == places[there]
        return spots[there]


class Holders(ABC):
    """All units of a pool."""

    def __init__(self, places: Sequence[Places], progress: Progress) -> None:
        self.places, self.progress = places, progress
        self.size = sum(map(len, places))
        self._catch_up: Callable[[Sequence[int]], object] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def start(self, catch_up: Callable[[Sequence[int]], object]) -> None:
        """`catch_up` brings new holders, by number, to where the selection is: at first all, later
        one whose process was lost. A call that it failed to answer is then repeated, so what is
        said there must not know of that call yet."""
        self._catch_up = catch_up
        catch_up(range(len(self)))

    def ask(self, method: str, *arguments: Any, of: Iterable[int] | None = None) -> list[Any]:
        """What all holders answer, or these."""
        chosen = range(len(self)) if of is None else of
        return self._answers(method, arguments, {holder: () for holder in chosen})

    def ask_each(self, method: str, *shared: Any, own: Mapping[int, tuple[Any, ...]]) -> list[Any]:
        """As `ask`, where each holder is told something of its own after what all are told."""
        return self._answers(method, shared, own)

    @abstractmethod
    def _answers(
        self, method: str, shared: tuple[Any, ...], own: Mapping[int, tuple[Any, ...]]
    ) -> list[Any]:
        """In the order of `own`."""

    def whole(self, answers: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """N, by place, from a number of each unit of each holder."""
        result = np.empty(self.size, np.result_type(*answers))
        for places, answer in zip(self.places, answers, strict=True):
            result[places] = answer
        return result

    def of(self, places: Places) -> dict[int, NDArray[np.intp]]:
        """By number of a holder that has some of `places`, where in there these are."""
        found = {}
        for holder, there in enumerate(self.places):
            spots = np.searchsorted(there, places)
            spots[spots == len(there)] = 0
            mine = np.flatnonzero(there[spots] == places) if len(there) else spots[:0]
            if len(mine):
                found[holder] = mine
        return found

    def gather(self, places: Places, *arguments: Any) -> Numbers:
        """The rows at these places, in this order: what their holders' `rows` says of them."""
        at = self.of(places)
        if not at:
            (none,) = self.ask("rows", places, *arguments, of=[0])
            return np.array(none)
        owned = {holder: (places[where], *arguments) for holder, where in at.items()}
        answers = self.ask_each("rows", own=owned)
        result = np.empty((len(places), answers[0].shape[1]), answers[0].dtype)
        for where, answer in zip(at.values(), answers, strict=True):
            result[where] = answer
        return result


class Spread(Protocol):
    """Where the rows of a pool are."""

    def holders(self, order: Places, kind: type[Holder], *arguments: Any) -> Holders:
        """The pool's units by place, where `order`, N, has the position in the pool of each place;
        each holder is a `kind(places, kept, *arguments)`."""


class Here(Holders):
    """Holders that are objects of this process."""

    def __init__(self, holders: Sequence[Holder], progress: Progress | None = None) -> None:
        super().__init__([holder.places for holder in holders], progress or Progress())
        self.holders = list(holders)

    def _answers(
        self, method: str, shared: tuple[Any, ...], own: Mapping[int, tuple[Any, ...]]
    ) -> list[Any]:
        return [
            getattr(self.holders[holder], method)(*shared, *each) for holder, each in own.items()
        ]


class Dealt:
    """Rows of this process, N x width by signal, dealt to so many holders."""

    def __init__(
        self, kept: Mapping[str, Rows], count: int = 1, progress: Progress | None = None
    ) -> None:
        self.kept, self.count, self.progress = kept, count, progress

    def holders(self, order: Places, kind: type[Holder], *arguments: Any) -> Holders:
        dealt = [np.flatnonzero(order % self.count == number) for number in range(self.count)]
        return self.here([partial(self._holder, each, order, kind, *arguments) for each in dealt])

    def here(self, made: Sequence[Callable[[], Holder]]) -> Holders:
        """The holders that these make."""
        return Here([make() for make in made], self.progress)

    def _holder(self, places: Places, order: Places, kind: type[Holder], *arguments: Any) -> Holder:
        rows = {name: Made(rows, order=order[places]) for name, rows in self.kept.items()}
        return kind(places, rows, *arguments)
