"""Wait until a Ray cluster has all its nodes: a run looks once what there is, when it starts.

    python jobs/cluster/wait_for_nodes.py HOST:PORT NODES [--seconds 300]

Exit code 5, as rayal's for clusters, where they do not come in time. Needs the token in the
environment, as every client of Ray's.
"""

import argparse
import socket
import sys
import time
from typing import NoReturn


def listening(address: str, deadline: float) -> bool:
    """Whether something takes connections at `address` before `deadline`; ray.init, asked too
    early, would retry for minutes."""
    host, _, port = address.rpartition(":")
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return True
        except OSError:
            time.sleep(0.5)
    return False


def alive(address: str, wanted: int, deadline: float) -> int:
    """Nodes that are there as soon as they are `wanted`, or at the deadline."""
    import ray

    ray.init(address, log_to_driver=False, logging_level="ERROR")
    try:
        while (there := sum(node["Alive"] for node in ray.nodes())) < wanted:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        return there
    finally:
        ray.shutdown()


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("address", help="host:port of the head")
    options.add_argument("nodes", type=int, help="the head counts as one")
    options.add_argument("--seconds", type=float, default=300, help="wait so long, at most")
    given = options.parse_args()
    deadline = time.monotonic() + given.seconds
    if not listening(given.address, deadline):
        _fail(f"nothing answers at {given.address} after {given.seconds:g} s")
    if (there := alive(given.address, given.nodes, deadline)) < given.nodes:
        _fail(f"{there} of {given.nodes} nodes have joined after {given.seconds:g} s")


def _fail(problem: str) -> NoReturn:
    print(f"wait_for_nodes: {problem}; see the output of the nodes", file=sys.stderr)
    sys.exit(5)


if __name__ == "__main__":
    main()
