"""The engine of the trials of a sweep that follow each other in one process of a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import ray

from rayal.cycle.engine import Engine
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.experiment.compute import Compute


class _Kept(NamedTuple):
    """An engine and what it was opened for."""

    asked: tuple[Any, ...]
    engine: Engine


_kept = list[_Kept]()
"""At most one, of this process: the last trial's, whose workers wait for the next one."""


@contextmanager
def trial_engine(compute: Compute, cores: int) -> Iterator[Engine]:
    """In a process that has joined the cluster already.

    Its workers take seconds to start, so it stays for the next trial of this process, until
    `close_kept`; not where a trial failed, whose work may still go on, nor where the cluster has
    other nodes by now.
    """
    asked = (compute, cores, frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"]))
    if _kept and _kept[0].asked != asked:
        close_kept()
    kind = LocalEngine if compute.engine == "local" else partial(RayEngine, cores=cores)
    engine = _kept.pop().engine if _kept else kind(compute)
    try:
        yield engine
    except SystemExit:  # stopped early, between two cycles
        _kept.append(_Kept(asked, engine))
        raise
    except BaseException:
        engine.close()
        raise
    _kept.append(_Kept(asked, engine))


def close_kept() -> None:
    """Sends the workers home that wait for another trial: no other comes."""
    while _kept:
        _kept.pop().engine.close()
