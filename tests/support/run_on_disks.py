"""A run on two nodes of one disk, then one with a third node, for which OUT/own is another disk.

    python -m tests.support.run_on_disks EXPERIMENT.yaml OUT

A process of its own: it starts a cluster, and Ray allows one per process.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from rayal.cycle.loop import run
from rayal.engine import start
from rayal.engine.cluster import RayEngine
from rayal.errors import StorageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support.doubles import Silent

APART = 'mount -t tmpfs none "$1" && exec "$2" start --address "$3" --num-cpus 3 --block'


def finish(x: Experiment, out: Path, cores: int) -> str:
    try:
        with (
            Ledger(Folder(out), x.identity()) as ledger,
            closing(RayEngine(x.compute, cores)) as engine,
        ):
            run(x, x.dataset.open(), ledger, engine, Silent())
    except StorageError as error:
        return f"StorageError {error}"
    return "complete"


def main() -> None:
    x, out = config.load(sys.argv[1]), Path(sys.argv[2])
    own = out / "own"
    own.mkdir(parents=True)
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=3)
    nodes.wait_for_nodes()
    apart = None
    try:
        cores = start.connect(nodes.address)
        print("2 nodes,", finish(x, out / "shared", cores), flush=True)
        tool = str(Path(sys.executable).with_name("ray"))
        command = ["sh", "-c", APART, "sh", str(own), tool, nodes.address]
        apart = subprocess.Popen(
            ["unshare", "--mount", *command], stdout=subprocess.DEVNULL, start_new_session=True
        )
        while len(ray.nodes()) < 3:
            time.sleep(0.2)
        print("3 nodes,", finish(x, own, cores), flush=True)
    finally:
        if apart is not None:
            os.killpg(apart.pid, signal.SIGKILL)
            apart.wait()
        start.disconnect()
        nodes.shutdown()


if __name__ == "__main__":
    main()
