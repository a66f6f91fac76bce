"""Signals of a small real network, for the tests of all strategies."""

import pytest

from rayal.testing.bench import Bench


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()
