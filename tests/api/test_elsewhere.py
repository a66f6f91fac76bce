"""Parts that other processes can find, and those that they cannot."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayal.api.elsewhere import allowed, packages
from rayal.errors import UsageError
from rayal.strategies.cod import Cod
from rayal.strategies.random import Random

PLUGINS = Path(__file__).parents[1] / "support" / "plugins"


@pytest.fixture
def raises(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class of a user's own package."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    from faulty.raises import Raises

    return Raises


def test_packages_of_instances_need_no_mention(raises: Any, tiny: Callable[..., Any]) -> None:
    """A user who hands over an object would be told to allow it."""
    x = tiny(strategy=raises(marker="/x"))

    assert {"faulty"} == packages(x) == packages([{"strategy": [Cod(), raises(marker="/x")]}])
    assert {"faulty", "mine"} == packages(x, ["mine"])
    assert set() == packages([tiny(), {"strategy": ["faulty.raises"]}])


def test_a_part_of_a_notebook_is_refused(raises: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial would fail on its worker, minutes later."""

    class Mine(Random):
        pass

    with pytest.raises(UsageError, match="Mine is not at the top of its module.*; move it there"):
        packages(Mine())
    assert {"tests"} == allowed(Mine())  # its work stays here
    monkeypatch.setattr(sys.modules[__name__], "Mine", Mine, raising=False)
    assert packages(Mine())
    Mine.__module__ = "__main__"
    monkeypatch.setattr(sys.modules["__main__"], "Mine", Mine, raising=False)
    assert set() == packages(Mine(), travels=True)
    with pytest.raises(UsageError, match="Mine is of this notebook or script.*; move it to a mod"):
        packages(Mine())
    assert packages(raises(marker="/x"))  # of a module of its own
