"""Machines of a cluster with memory for a pool, and how it is shared out among them."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import ray
from ray._private.state import available_resources_per_node

from rayal.cycle.lots import Lot, Whole
from rayal.errors import ClusterError

UNIT_BYTES = 136
"""Memory for a unit beside what was kept of it, at the peak: order and place, 16 bytes, what
strategies note of it, at most 24, ids on their way; 110 to 134 were measured."""
PROCESS_BYTES = 600 * 2**20
"""What a process takes that holds nothing."""
SETTLE_SECONDS = 5.0
"""Ray tells by then that what processes had which have ended is free."""


class Host(NamedTuple):
    """A machine."""

    node: str
    memory: float
    """Bytes that Ray may give away there."""
    cores: float
    free: float
    """Bytes of `memory` that nobody has."""


def hosts() -> list[Host]:
    """The living machines of this cluster that can compute, the most free memory first."""
    left = available_resources_per_node()
    found = [
        Host(
            node["NodeID"],
            node["Resources"].get("memory", 0.0),
            node["Resources"]["CPU"],
            left.get(node["NodeID"], {}).get("memory", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0)
    ]
    return sorted(found, key=lambda host: (-host.free, host.node))


def needed(whole: Whole, lots: Sequence[Lot]) -> int:
    """Bytes that the process with the largest lot takes. All have the labeled units, too."""
    most = max(whole.units_of(lot) for lot in lots)
    others = whole.labeled * whole.row_bytes
    return most * (whole.row_bytes + UNIT_BYTES) + others + PROCESS_BYTES


def shared_out(whole: Whole, there: Sequence[Host], per_host: int = 1) -> list[Lot]:
    """A lot for each of as many machines, the largest first, as it takes for all to have room; all
    of them if they are alike.

    Raises ClusterError where that cannot be.
    """
    for count in range(len(there), 0, -1):
        lots = whole.lots(count * per_host)
        if needed(whole, lots) * per_host <= there[count - 1].free:
            return lots
    size = (whole.bytes + whole.units * UNIT_BYTES) / 2**30
    free = sum(host.free for host in there) / 2**30
    raise ClusterError(
        f"{whole.units} units take {size:.2f} GB of memory, and {PROCESS_BYTES / 2**30:.2f} GB on"
        f" each machine; the {len(there)} of the cluster have {free:.2f} GB free; add machines,"
        " start Ray there with a larger --memory, or select from fewer candidates"
    )


def room(whole: Whole, per_host: int = 1) -> tuple[list[Lot], list[Host]]:
    """Lots, and the machines with free memory for them. Raises ClusterError where it is too little,
    at once where it would be if nobody else had any of it."""
    shared_out(whole, [host._replace(free=host.memory) for host in hosts()], per_host)
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        there = hosts()
        try:
            return shared_out(whole, there, per_host), there
        except ClusterError:
            if time.monotonic() > until:
                raise
        time.sleep(SETTLE_SECONDS / 50)
