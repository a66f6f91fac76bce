"""What the contract suites have in common: a part, and promises that are kept or not."""

import atexit
from collections.abc import Callable
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, ClassVar, NoReturn, TypeVar

from rayal.parts import Component

T = TypeVar("T")


class Broken(AssertionError):
    """A promise that is not kept; the message says which, and what came."""


class Contract:
    """The promises of one kind of part, each a method `test_*` that needs nothing but `part`.

    In a test file a subclass of it is a suite that pytest runs:
    `class TestMine(StrategyContract): part = Mine()`; elsewhere `rayal.testing.check(Mine())` does.
    A promise that is not kept raises AssertionError, which says what was promised and what came;
    what the part itself raises is not caught.
    """

    part: Any
    """The part that is tried."""
    kind: ClassVar[str] = "part"
    """What such a part is called in messages."""

    _made: ClassVar[tuple[Any, dict[str, Any]]] = (None, {})

    def broken(self, promise: str, came: str) -> NoReturn:
        """Raises AssertionError: the promise, and what came instead."""
        raise Broken(f"{self.kind} {self.name()} promises {promise}; {came}")

    @classmethod
    def teardown_class(cls) -> None:
        """Lets go of what was made once; pytest calls it after the last test, as `check` does."""
        cls._made = (None, {})

    def name(self) -> str:
        """What the part is called in messages: its class, which in a notebook is all it has."""
        return type(self.part).__name__

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` makes, made once for all tests of this part: some of it takes seconds."""
        owner = type(self)
        if owner._made[0] is not self.part:
            owner._made = (self.part, {})
        made = owner._made[1]
        if name not in made:
            made[name] = make()
        found: T = made[name]
        return found


class PartContract(Contract):
    """What every part promises."""

    part: Component

    def test_is_its_configuration(self) -> None:
        """What a run folder records of it makes the same part: a resumed run goes on with it."""
        saved = self.part.model_dump(mode="json")
        given = {name: value for name, value in saved.items() if name != "name"}
        again = type(self.part).model_validate(given)
        if again != self.part:
            self.broken(
                "to be made again by the fields it is saved as",
                f"{given} make {again!r}, not {self.part!r}",
            )


def scratch() -> str:
    """A new folder that is gone when this process ends."""
    folder = mkdtemp(prefix="rayal-testing-")
    atexit.register(rmtree, folder, ignore_errors=True)
    return folder
