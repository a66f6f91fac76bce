"""Core-set on a cluster of two nodes, while something is lost.

    python -m tests.support.select_on_nodes SCORES OUT process|node|driver

A process of its own: it starts a cluster, and Ray allows one per process. Writes OUT/found.json:
the picks, and on how many nodes they were made.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from rayal.cycle.lots import Whole, held
from rayal.engine import start
from rayal.engine.holding import HeldPool
from rayal.randomness import numpy_generator
from rayal.selection.progress import Progress
from rayal.strategies.core_set import CoreSet
from rayal.workflows.select.finished_pass import FinishedPass
from tests.support.run_on_nodes import SOON

BUDGET = 700


class Losing(Progress):
    """Loses a process, or its node, in the middle."""

    def __init__(self, engine: "Holding") -> None:
        super().__init__()
        self.engine, self.lost = engine, False

    def add(self, picks: list[int], **state: Any) -> None:
        super().add(picks, **state)
        if not self.lost and len(self.picks) > BUDGET // 3:
            self.lost = True
            self.engine.lose()


class Holding:
    def __init__(self, nodes: Cluster, workers: list[Any], what: str) -> None:
        self.nodes, self.workers, self.what = nodes, workers, what

    def holds(self, size: int) -> bool:
        return True

    def has_room(self, whole: Whole) -> bool:
        return True

    @contextmanager
    def hold(self, whole: Whole, progress: Progress) -> Iterator[HeldPool]:
        with closing(HeldPool(whole, progress, max_failures=3)) as self.pool:
            self.used = len(set(self.pool.seats.nodes))
            yield self.pool

    def lose(self) -> None:
        if self.what == "node":
            own = ray.get_runtime_context().get_node_id()  # which this process would not outlive
            other = next(node for node in self.workers if node.node_id != own)
            self.nodes.remove_node(other, allow_graceful=False)
        else:
            ray.kill(self.pool.seats.processes[0])


def here(scores: str, nodes: Cluster, workers: list[Any], what: str) -> dict[str, Any]:
    start.connect(nodes.address)
    done, engine = FinishedPass(scores), Holding(nodes, workers, what)
    strategy, progress = CoreSet(), Losing(engine)
    whole = Whole.of(done.folder, done.result, strategy, "core_set", ())
    with held(engine, whole, (), progress) as pool:
        rng = numpy_generator(0, 0, "select", "core_set")
        ids = list(strategy.select(pool, BUDGET, rng))
    return {"ids": ids, "nodes": engine.used, "lost": progress.lost}


def killed(scores: str, out: Path, address: str) -> dict[str, Any]:
    """The command, killed once it has kept some picks, and then again."""
    command = [sys.executable, "-m", "rayal", "select", scores, "--strategy", "core_set"]
    command += ["--budget", str(BUDGET), "--out", str(out / "picks"), "--address", address]
    first = subprocess.Popen(command)
    while not (out / "picks.picks.json").exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = len(json.loads((out / "picks.picks.json").read_bytes())["picks"])
    left = sorted(path.name for path in out.iterdir())
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = (out / "picks.csv").read_text().splitlines()[1:]
    ids = [row.split(",")[1] for row in rows]
    after = sorted(path.name for path in out.iterdir())
    return {"ids": ids, "nodes": 2, "lost": kept, "left": left, "after": after}


def main() -> None:
    scores, out, what = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    out.mkdir(exist_ok=True)
    own = 0 if what == "node" else 1  # the head is one of the two, unless one of them is lost
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": own, "_system_config": SOON, "include_dashboard": False},
    )
    workers = [nodes.add_node(num_cpus=1) for _ in range(2 - own)]
    nodes.wait_for_nodes()
    try:
        if what == "driver":
            found = killed(scores, out, nodes.address)
        else:
            found = here(scores, nodes, workers, what)
        (out / "found.json").write_text(json.dumps(found))  # Ray prints what it likes
    finally:
        start.disconnect()
        nodes.shutdown()


if __name__ == "__main__":
    main()
