"""Endless batches of some items, in which each has its turn before any has a second one."""

import torch
from torch import Tensor

from rayal.randomness import Key, torch_generator


class RoundRobin:
    """Batch s holds places [s B, (s + 1) B) of an endless row of permutations of n items, one after
    the other. It depends on nothing but its number: a row may begin anywhere."""

    def __init__(self, count: int, batch_size: int, *key: Key) -> None:
        """`count` is n, at least 1, `batch_size` B; `key` is what permutations are drawn from."""
        self.count, self.batch_size, self.key = count, batch_size, key
        self._turns: dict[int, Tensor] = {}

    def places(self, batch: int) -> Tensor:
        """B places in [0, n)."""
        return self.at(batch * self.batch_size)

    def at(self, start: int) -> Tensor:
        """The B places from any one of the row."""
        size = self.batch_size
        return torch.cat(
            [
                self._permutation(turn)[
                    max(start - turn * self.count, 0) : start + size - turn * self.count
                ]
                for turn in range(start // self.count, (start + size - 1) // self.count + 1)
            ]
        )

    def _permutation(self, turn: int) -> Tensor:
        if turn not in self._turns:
            generator = torch_generator(*self.key, turn)
            self._turns[turn] = torch.randperm(self.count, generator=generator)
            self._turns.pop(turn - 2, None)
        return self._turns[turn]
