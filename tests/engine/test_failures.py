"""rayal/engine/failures.py: what a worker raised, on its way to the driver."""

import pytest

from rayal.blame import plugin_fault
from rayal.engine.described import described
from rayal.engine.failures import raised
from rayal.errors import ClusterError, UsageError
from rayal.parts import Component


class Mine(Component):
    """A part outside rayal."""

    def breaks(self) -> None:
        raise KeyError("x")


def test_a_worker_tells_whose_mistake_it_was() -> None:
    """A mistake in a user's scheme would come back as exit 5, as if the cluster were at fault."""
    with pytest.raises(KeyError) as caught:
        Mine().breaks()
    assert plugin_fault(caught.value) is not None
    with pytest.raises(UsageError, match="plugin 'tests.*test_failures' raised KeyError: 'x'"):
        raised(described(caught.value))
    with pytest.raises(ClusterError, match=r"a worker raised OSError: gone"):
        raised({"error": "ClusterError", "message": "a worker raised OSError: gone"})
