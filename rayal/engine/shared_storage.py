"""Whether the nodes of a cluster see the driver's disk: rayal's files are how they work together.

A path may exist on every node and be another disk on each; the work would then end in files that
nobody finds. Object stores are the same for all, and a single node needs no question.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayal.data.card import CARD
from rayal.errors import OUT, StorageError
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder
from rayal.storage.local_files import TEMPORARY

PATIENCE = 60.0
"""Seconds until a node that does not answer is left for the next time."""

Expected = Mapping[str, str]
"""Path of a file -> sha256 of its content."""
Nodes = Mapping[str, str]
"""Id -> name for people."""

logger = logging.getLogger(__name__)


class SharedStorage:
    """Asks every node once; nodes that join later are asked when the next stage begins."""

    def __init__(
        self,
        nodes: Callable[[], Nodes] | None = None,
        ask: Callable[[Sequence[str], Expected], Mapping[str, list[str]]] | None = None,
    ) -> None:
        """`nodes`: those beside the driver's; `ask`: of each that answers the files it lacks."""
        self._nodes, self._ask = nodes or other_nodes, ask or ask_nodes
        self._seen: set[str] = set()

    def check(self, out: str, stores: Sequence[str] = ()) -> None:
        """Raises StorageError for a node that does not see the folder `out`, or a prepared store,
        as this process does. URLs are not asked for."""
        nodes = self._nodes()
        new = [node for node in nodes if node not in self._seen]
        if not new:
            return
        with _witnesses(Folder(out), [Folder(store) for store in stores]) as expected:
            answers = self._ask(new, expected) if expected else {node: [] for node in new}
        for node, lacking in answers.items():
            if lacking:
                raise StorageError(
                    f"{Path(lacking[0]).parent} is not the same storage on node {nodes[node]}: use"
                    f" a shared path or URL ({OUT} for a run, dataset.store for prepared images)"
                )
            self._seen.add(node)


def lacking(expected: Expected) -> list[str]:
    """The files that are not here, or are others."""
    return [path for path, digest in expected.items() if _digest(path) != digest]


def other_nodes() -> Nodes:
    """The living nodes that can work, without the one of this process."""
    own = ray.get_runtime_context().get_node_id()
    return {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != own and {"CPU", "GPU"} & node["Resources"].keys()
    }


def ask_nodes(nodes: Sequence[str], expected: Expected) -> dict[str, list[str]]:
    """What each node lacks; without those that die meanwhile, or are silent."""
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asked[node] = _lacking.options(scheduling_strategy=there).remote(dict(expected))
    ray.wait([*asked.values()], num_returns=len(asked), timeout=PATIENCE)
    answers: dict[str, list[str]] = {}
    for node, answer in asked.items():
        try:
            answers[node] = ray.get(answer, timeout=0.1)
        except RayError as error:
            logger.debug("node %s does not say what it sees: %s", node, error)
    return answers


@ray.remote(num_cpus=0, max_retries=0)
def _lacking(expected: Expected) -> list[str]:
    return lacking(expected)


@contextmanager
def _witnesses(out: Folder, stores: Sequence[Folder]) -> Iterator[Expected]:
    """The cards of local stores, and for as long as the block lasts a file that was never before
    in the folder `out`: what a disk of the same name would not hold."""
    cards = [str(store.local / CARD) for store in stores if store.local is not None]
    expected = {card: digest for card in cards if (digest := _digest(card)) is not None}
    if out.local is None:
        yield expected
        return
    nonce = os.urandom(16)
    path = out.local / f"{TEMPORARY}{nonce.hex()}"  # removed by the next run if this one is killed
    with storage_errors(str(path)):
        out.make()
        path.write_bytes(nonce)
    try:
        yield {str(path): hashlib.sha256(nonce).hexdigest(), **expected}
    finally:
        with storage_errors(str(path)):
            path.unlink(missing_ok=True)


def _digest(path: str) -> str | None:
    """None where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
