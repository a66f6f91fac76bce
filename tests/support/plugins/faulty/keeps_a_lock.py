"""A strategy that cannot leave its process."""

import threading
from typing import Any

from pydantic import PrivateAttr
from torch import Tensor

from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy


class KeepsALock(Strategy):
    """Uniform noise."""

    needs = frozenset({"noise"})
    _guard: Any = PrivateAttr(default_factory=threading.Lock)

    def score(self, s: Signals) -> Tensor:
        return s.noise
