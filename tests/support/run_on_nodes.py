"""A run on a cluster of several nodes, some of which are lost and come while it works.

    python tests/support/run_on_nodes.py EXPERIMENT.yaml OUT lose_scoring,lose_training,add

A process of its own: it starts a cluster, and Ray allows one per process.
"""

import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from rayal.cycle.loop import run
from rayal.engine import start
from rayal.engine.cluster import RayEngine
from rayal.experiment import config
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support.doubles import Silent

SOON = {  # a lost node is noticed in a second, not in half a minute
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}


class Chaos(Silent):
    """Replaces nodes at the moments that are asked for."""

    def __init__(self, nodes: Cluster, workers: list, out: Path, asked: set[str]) -> None:
        self.nodes, self.workers, self.out, self.asked = nodes, workers, out, asked
        self.did: list[str] = []

    def further(self, done: int, total: int) -> None:
        if done == 1 and "scoring" in self.asked:
            self.asked.remove("scoring")
            self.lose(1, "scoring")

    def stage(self, cycle: int, stage: str) -> None:
        if (cycle, stage) == (1, "train") and "training" in self.asked:
            old = len(self.workers)
            self.add()  # here: Ray starts a node in the main thread only
            threading.Thread(target=self.lose_training, args=(old,), daemon=True).start()

    def lose_training(self, old: int) -> None:
        """All nodes that can be training, once the training has saved something."""
        while not list(self.out.glob("cycle-001/train/checkpoint-*.pt")):
            time.sleep(0.05)
        self.lose(old, "training")

    def add(self) -> None:
        self.workers.append(self.nodes.add_node(num_cpus=3))

    def lose(self, number: int, when: str) -> None:
        if when == "scoring":
            self.add()
        for node in self.workers[:number]:
            self.nodes.remove_node(node, allow_graceful=False)
        self.workers = self.workers[number:]
        self.did.append(when)


def main() -> None:
    file, out, asked = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "_system_config": SOON, "include_dashboard": False},
    )
    workers = [nodes.add_node(num_cpus=3) for _ in range(2)]
    nodes.wait_for_nodes()
    try:
        cores = start.connect(nodes.address)
        x = config.load(file)
        chaos = Chaos(nodes, workers, out, set(asked))
        with (
            Ledger(Folder(out), x.identity()) as ledger,
            closing(RayEngine(x.compute, cores)) as engine,
        ):
            run(x, x.dataset.open(), ledger, engine, chaos)
        print("lost while", ",".join(chaos.did), "nodes", len(ray.nodes()), flush=True)
    finally:
        start.disconnect()
        nodes.shutdown()


if __name__ == "__main__":
    main()
