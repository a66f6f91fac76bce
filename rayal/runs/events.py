"""What happens while rayal works, as observers are told: console, tracker, views, notebooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rayal.errors import UsageError, quoted
from rayal.runs.result import Result


@dataclass(frozen=True)
class Event:
    """Something has begun, come further or ended: a stage of a run, or a pass over a pool.

    Who calls `rayal.run`, `rayal.sweep` or `rayal.score` is told first that the folder is `opened`.
    Of trials of a sweep, which run elsewhere, the cycles of all together and the ends are told.
    """

    what: Literal["opened", "begun", "further", "ended"]
    stage: str
    """`train` and so on of a run, `run` of a whole one, `score` of a pool, `trial` of a sweep,
    `sweep` of a whole one."""
    cycle: int | None = None
    """Of a run."""
    done: int | None = None
    """How many of `total` are done; those of earlier attempts count."""
    total: int | None = None
    unit: str = ""
    """What is counted: shards of a run's pass, images of a pool's, cycles or trials of a sweep."""
    share: float | None = None
    """Of all the work what is done, in [0, 1], where what is counted is not all alike."""
    result: Result | None = None
    """Of a stage or pass that has ended."""
    note: str = ""
    """How it ended, in words; of what is opened, whether it is complete already."""
    url: str = ""
    """The folder of what is opened."""
    trial: str = ""
    """Of a sweep, which trial has come further or ended: its arm and seed, in words."""
    cycles: tuple[int, int] | None = None
    """How many of its cycles that trial has evaluated, and of how many."""

    def __str__(self) -> str:
        """`cycle 1 score: 18 of 25 shards`, `cycle 1 score: ended`, `run: opened  /runs/mine`."""
        name = self.stage if self.cycle is None else f"cycle {self.cycle} {self.stage}"
        if self.url:
            return f"{name}: {self.note or self.what}  {self.url}"
        if self.note:
            return f"{name}: {self.note}"
        if self.what == "further":
            return f"{name}: {self.done} of {self.total} {self.unit}"
        return f"{name}: {self.what}"


class Observer(Protocol):
    """Someone who is told what happens, and cannot change it.

    An error that an observer raises ends the work; the same command continues it.
    """

    def on(self, event: Event) -> None:
        """Called in the order of events, on the thread that does the work."""


Listener = Callable[[Event], object] | Observer
"""Who is told what happens: something to call with each event, or something with a method `on`."""


class Caller:
    """An observer that calls a function with every event."""

    def __init__(self, call: Callable[[Event], object]) -> None:
        self.call = call

    def on(self, event: Event) -> None:
        self.call(event)


def observer(listener: Listener | None) -> Observer:
    """Who listens, as the loop knows them; nobody for None.

    Raises UsageError for what can neither be called nor has `on`.
    """
    if listener is None:
        return Caller(lambda event: None)
    if hasattr(listener, "on"):
        return listener
    if not callable(listener):
        raise UsageError(
            f"on_event: {quoted(listener)} cannot be called; give a function that takes an event"
        )
    return Caller(listener)


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = tuple(observers)

    def on(self, event: Event) -> None:
        for observer in self.observers:
            observer.on(event)
