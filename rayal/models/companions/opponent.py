"""A network that another one plays against: which of the two learns in a step."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class Opponent(nn.Module):
    """Its weights ask for gradients inside `learning` alone, once `requires_grad_(False)` is said.

    So no optimizer of the other network holds them, and a step of the other leaves nothing in them,
    though gradients pass through to what it was shown.
    """

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Inside, a backward pass reaches its weights."""
        self.requires_grad_(True)
        try:
            yield
        finally:
            self.requires_grad_(False)
