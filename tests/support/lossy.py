"""Holders of which some are lost, and new ones take their place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rayal.selection.distances import Rows
from rayal.selection.holders import Dealt, Here, Holder, Holders
from rayal.selection.progress import Progress

MOST = 6
"""Holders that are lost: bringing one up to date may lose another."""


class Killed(Exception):
    """Whoever selected is no more."""


class Stopping(Progress):
    """Progress of a process that is killed when so many picks are kept; each is kept at once."""

    def __init__(self, after: int, state: dict[str, Any] | None = None) -> None:
        super().__init__(state)
        self.after, self.written = after, dict[str, Any]()

    def add(self, picks: list[int], **state: Any) -> None:
        super().add(picks, **state)
        self.keep()

    def _write(self, state: dict[str, Any]) -> None:
        self.written = {**state, "picks": [*state["picks"]]}
        if len(self.picks) >= self.after:
            raise Killed


class LossyHere(Here):
    def __init__(
        self, made: Sequence[Callable[[], Holder]], progress: Progress | None, every: int
    ) -> None:
        super().__init__([make() for make in made], progress)
        self.made, self.every, self.calls, self.lost = made, every, 0, 0

    def _answers(
        self, method: str, shared: tuple[Any, ...], own: Mapping[int, tuple[Any, ...]]
    ) -> list[Any]:
        answers = []
        for number, arguments in own.items():
            self.calls += 1
            if (
                self.calls % self.every == 0 and self.lost < MOST
            ):  # it dies with what it was asked, done or not
                if self.lost % 2:
                    super()._answers(method, shared, {number: arguments})
                self.lost += 1
                self.holders[number] = self.made[number]()
                if self._catch_up is not None:
                    self._catch_up([number])
            answers += super()._answers(method, shared, {number: arguments})
        return answers


class Lossy(Dealt):
    """As Dealt; every so many answers one comes from a holder that has just been made anew."""

    def __init__(self, kept: Mapping[str, Rows], count: int, every: int) -> None:
        super().__init__(kept, count)
        self.every = every

    def here(self, made: Sequence[Callable[[], Holder]]) -> Holders:
        return LossyHere(made, self.progress, self.every)
