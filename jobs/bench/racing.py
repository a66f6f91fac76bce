"""Sides of a benchmark that run in turn and show what they do, and memory of a fresh process."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from benchmark import alternate, median_ratio
from threadpoolctl import threadpool_limits

PAGE = os.sysconf("SC_PAGE_SIZE") / 1e6
"""MB: no less can be measured."""


@dataclass(frozen=True)
class Race:
    """Seconds of each side's counted runs, and what its last run returned."""

    seconds: dict[str, list[float]]
    results: dict[str, Any]

    def times(self, slow: str, fast: str = "rayal") -> float:
        """How many times as long one side takes: the median over runs next to each other."""
        return median_ratio(self.seconds[slow], self.seconds[fast])

    def median(self, side: str) -> float:
        return statistics.median(self.seconds[side])


def race(what: str, runs: int, **sides: Callable[[], object]) -> Race:
    """Runs the sides in turn after one warm-up each, and prints each run as it ends."""
    results: dict[str, Any] = {}

    def shown(name: str) -> None:
        started = time.perf_counter()
        results[name] = sides[name]()
        print(f"{what}: {name} {time.perf_counter() - started:.3f} s", flush=True)

    return Race(alternate(runs, **{name: partial(shown, name) for name in sides}), results)


def growth(
    what: str, runs: int, prepare: Callable[..., Callable[[], object]], *arguments: object
) -> tuple[float, float, Any]:
    """MB that the work which `prepare(*arguments)` returns adds to the memory of a fresh process at
    its peak, and its seconds, medians over processes; and what it returned. Needs Linux.
    """
    measured: list[tuple[float, float, Any]] = []
    for _ in range(runs):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            call = apart.submit(_grown, torch.get_num_threads(), prepare, *arguments)
            measured.append(call.result())
        print(f"{what}: {measured[-1][0]:.0f} MB, {measured[-1][1]:.1f} s", flush=True)
    megabytes, seconds = (statistics.median(run[place] for run in measured) for place in (0, 1))
    return megabytes, seconds, measured[-1][2]


def _grown(
    threads: int, prepare: Callable[..., Callable[[], object]], *arguments: object
) -> tuple[float, float, Any]:
    use_threads(threads)
    work = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here; ru_maxrss cannot
    before, started = _megabytes("VmRSS:"), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    return max(_megabytes("VmHWM:") - before, PAGE), seconds, result


def _megabytes(field: str) -> float:
    """Of this process: `VmRSS:` now, `VmHWM:` at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field))


def use_threads(threads: int) -> None:
    """As many for torch, for the matrix products of numpy, and for Rust libraries."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)
