"""Core-set from a pool that two nodes of a Ray cluster hold, against one process with all of it.

    python jobs/bench/held.py [--only core_set,large] [--runs 5] [--small] [--out report]

Both nodes are on this machine, with one core each; the same picks are asserted. Times are of
selecting alone, from a pool that is read already, medians over runs made in turn after a warm-up;
memory is what reading and selecting add to a process at its peak. `large`, 10^7 units, takes about
6 GB of memory and of disk, and is run once. `--small` shows whether all works: its ratios mean
nothing.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
from benchmark import Row, Rows, parser, run
from pool_features import mixture
from racing import growth, race, use_threads
from ray.cluster_utils import Cluster

from rayal.cycle import shard_file
from rayal.cycle.lots import Whole, held
from rayal.engine import start
from rayal.engine.holding import HeldPool
from rayal.runs.passes import Pass
from rayal.selection.candidates import Candidates
from rayal.selection.progress import Progress
from rayal.storage.folder import FileRecord, Folder
from rayal.strategies.core_set import CoreSet

SHARD = 16_384
SEED = 0


class Holding:
    """One process on each node; `base` is what these take before they read."""

    def holds(self, size: int) -> bool:
        return True

    def has_room(self, whole: Whole) -> bool:
        return True

    @contextmanager
    def hold(self, whole: Whole, progress: Progress) -> Iterator[HeldPool]:
        with closing(HeldPool(whole, progress, max_failures=0)) as pool:
            own = [each.__ray_call__.remote(lambda _: os.getpid()) for each in pool.seats.processes]
            self.base = {process: memory(process, "VmRSS:") for process in ray.get(own)}
            yield pool

    def growth(self) -> list[float]:
        """MB of each at its peak, above that."""
        return [memory(process, "VmHWM:") - before for process, before in self.base.items()]


def core_set(
    options: argparse.Namespace, units: int = 400_000, width: int = 256, picks: int = 2_000
) -> list[Row]:
    """Two nodes of one core against one process of one thread, and of two."""
    with tempfile.TemporaryDirectory() as scratch, nodes(2):
        result, engine = kept(Folder(scratch), units, width), Holding()
        whole = Whole.of(Folder(scratch), result, CoreSet(), "core_set", ())
        alone = loaded(scratch, result)
        with held(engine, whole, (), Progress()) as pool:
            ran = race(
                "held",
                options.runs,
                rayal=lambda: chosen(pool, picks),
                one_thread=lambda: threaded(1, alone, picks),
                two_threads=lambda: threaded(2, alone, picks),
            )
            each = engine.growth()
        assert ran.results["rayal"] == ran.results["one_thread"] == ran.results["two_threads"]
        single, _, _ = growth("one process", 1, select_work, scratch, result, picks)
    what = f"core-set on Ray over 2 nodes of one core, {units} x {width}, {picks} picks"
    detail = f"{ran.median('rayal'):.2f} s; the same picks"
    peaks = " and ".join(f"{peak:.0f}" for peak in each)
    return [
        Row(what, "one process, one thread", ran.times("one_thread"), "at least 1.5 x", detail),
        Row(what, "one process, two threads", ran.times("two_threads"), "none", detail),
        Row(
            f"{what}, memory of a node",
            "one process",
            max(each) / single,
            "half",
            f"{peaks} MB; one process {single:.0f} MB",
        ),
    ]


def large(
    options: argparse.Namespace, units: int = 10**7, width: int = 64, picks: int = 1_000
) -> list[Row]:
    """How long it takes, and how much memory, where it is run once."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch, nodes(2):
        result, engine = kept(Folder(scratch), units, width), Holding()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        before, started = memory("self", "VmRSS:"), time.perf_counter()
        whole = Whole.of(Folder(scratch), result, CoreSet(), "core_set", ())
        with held(engine, whole, (), Progress()) as pool:
            read = time.perf_counter() - started
            started = time.perf_counter()
            picked = chosen(pool, picks)
            seconds = time.perf_counter() - started
            driver = memory("self", "VmHWM:") - before
            each = engine.growth()
    assert picks == len(set(picked))
    peaks = " and ".join(f"{peak:.0f}" for peak in each)
    return [
        Row(
            f"core-set on Ray over 2 nodes of one core, {units} x {width}, memory of a node",
            "its half of the rows in float16",
            max(each) / (units * width * 2 / 1e6 / len(each)),
            "none",
            f"{picks} picks in {seconds:.1f} s after {read:.1f} s of reading; {peaks} MB, and"
            f" {driver:.0f} MB in the process that selects",
        )
    ]


def chosen(pool: Candidates, picks: int) -> list[str]:
    return list(CoreSet().select(pool, picks, np.random.default_rng(SEED)))


def threaded(threads: int, pool: Candidates, picks: int) -> list[str]:
    use_threads(threads)
    return chosen(pool, picks)


def loaded(folder: str, result: Pass) -> Candidates:
    """The pool in the memory of this process."""
    return shard_file.load(Folder(folder), result, ["features"], (), ["core_set"])["core_set"]


def select_work(folder: str, result: Pass, picks: int) -> Callable[[], object]:
    """For `growth`."""
    return lambda: chosen(loaded(folder, result), picks)


def kept(folder: Folder, units: int, width: int) -> Pass:
    """Writes the shards of a pass that kept features; returns its result."""
    files: list[FileRecord] = []
    order = np.random.default_rng(SEED)
    for first in range(0, units, SHARD):
        size = min(SHARD, units - first)
        ids = [f"unit-{unit:09d}" for unit in range(first, first + size)]
        features = mixture(size, width) + order.standard_normal((size, width)).astype(np.float16)
        data = shard_file.encode(ids, {"keep.features": features}, {})
        files.append(folder.write(f"shard-{first // SHARD:05d}.parquet", data))
    return Pass(units=units, columns=("core_set",), shards=tuple(files))


@contextmanager
def nodes(count: int) -> Iterator[None]:
    """A cluster of nodes of one core, on this machine."""
    there = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    for _ in range(count - 1):
        there.add_node(num_cpus=1)
    there.wait_for_nodes()
    try:
        start.connect(there.address)
        yield
    finally:
        start.disconnect()
        there.shutdown()


def memory(process: int | str, field: str) -> float:
    """MB of a process: `VmRSS:` now, `VmHWM:` at its peak."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    size = next(line for line in lines if line.startswith(field))
    return int(size.split()[1]) * 1024 / 1e6


ROWS: Rows = {row.__name__: row for row in (core_set, large)}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "core_set": {"units": 20_000, "width": 16, "picks": 100},
    "large": {"units": 40_000, "width": 16, "picks": 50},
}


def main(arguments: Sequence[str]) -> list[Row]:
    return run("held", ROWS, SMALL, parser(__doc__, ROWS).parse_args(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
