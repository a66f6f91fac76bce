"""Parts and configurations, described in Python."""

import doctest

import pytest

import rayal
from rayal.api import configs, parts
from rayal.errors import UsageError
from rayal.parts import PACKAGES, names


def test_lists() -> None:
    """A part would be there without anyone finding it."""
    assert all(list(rayal.list_parts(kind)) == names(kind) for kind in PACKAGES)
    assert "probable" in rayal.list_parts("strategies")["margin"]


def test_an_unknown_kind() -> None:
    """Somebody writes `strategy` for `strategies`."""
    for ask in (lambda: rayal.list_parts("strategy"), lambda: rayal.describe("strategy", "cod")):
        with pytest.raises(UsageError, match="did you mean 'strategies'"):
            ask()


@pytest.mark.parametrize("module", [configs, parts], ids=lambda module: module.__name__)
def test_examples(module) -> None:
    """An example that does not do what it says."""
    done = doctest.testmod(module, extraglobs={"rayal": rayal})

    assert done.attempted
    assert not done.failed
