"""Where orders for training workers lie. Light: its process starts with whatever this imports."""

import asyncio
from typing import NamedTuple

from rayal.storage.folder import Json


class Order(NamedTuple):
    """One training that the group is asked for."""

    number: int
    payload: bytes
    """The pickled TrainJob: only the workers import what it needs."""


class Desk:
    """Where orders lie until they are done. An async actor: workers wait here without polling."""

    def __init__(self, attempts: int) -> None:
        self.attempts, self.tries, self.done, self.given = attempts, 0, 0, 0
        self.order: Order | None = None
        self.closed = False
        self.results: dict[int, Json] = {}
        self.changed = asyncio.Condition()

    async def place(self, order: Order | None) -> None:
        """A new order; None closes the desk."""
        async with self.changed:
            self.order, self.closed, self.tries = order, order is None, 0
            self.changed.notify_all()

    async def next(self, after: int, rank: int) -> Order | None:
        """The first order above `after` that is not done, when there is one; None to go home.

        A worker that asks with `after` 0 has just started: where an order lies already, the group
        died over it, and after too many tries the order fails.
        """
        async with self.changed:
            await self.changed.wait_for(lambda: self.closed or self._waits(after))
            order = self.order
            if order is None:
                return None
            self.given = order.number
            self.tries += after == 0 and rank == 0
            if self.tries <= self.attempts:
                return order
        message = f"training workers died {self.attempts} times; see their logs, or add memory"
        await self.deliver(order.number, {"error": "ClusterError", "message": message})
        return await self.next(order.number, rank)

    def _waits(self, after: int) -> bool:
        return self.order is not None and self.order.number > max(after, self.done)

    async def taken(self) -> bool:
        """Whether a worker has asked for the order."""
        return self.order is not None and self.given == self.order.number

    async def deliver(self, number: int, result: Json) -> None:
        """The result of an order; of several the first."""
        async with self.changed:
            if number > self.done:
                self.results[number], self.done = result, number
                self.changed.notify_all()

    async def result(self, number: int) -> Json:
        """The result of an order, when it is there."""
        async with self.changed:
            await self.changed.wait_for(lambda: number in self.results)
            return self.results.pop(number)
