"""What a cluster has room for, by the resources of its nodes alone: the engine places work by it,
and a plan asks the same beforehand. Nothing of Ray is imported."""

from collections.abc import Sequence

from rayal.errors import ClusterError
from rayal.experiment.compute import Compute

Node = dict[str, float]  # resources of a node: CPU, GPU, ...


def resolved_compute(compute: Compute, nodes: Sequence[Node], cores: int) -> Compute:
    """The same with every null replaced by what this cluster has."""
    gpus = int(total(nodes, "GPU"))
    device = compute.device if compute.device != "auto" else ("cuda" if gpus else "cpu")
    room = max(int(total(nodes, "CPU")) - 1, 1)  # one stays free for reading
    hosts = [node for node in nodes if device != "cuda" or _has(node, "GPU")] or nodes
    workers_of_node = -(-compute.train_workers // len(hosts))
    share = min(cores, int(max(_has(node, "CPU") for node in hosts))) // workers_of_node
    return compute.model_copy(
        update={
            "device": device,
            "scorers": compute.scorers or (max(gpus, 1) if device == "cuda" else min(cores, room)),
            "cpus_per_worker": compute.cpus_per_worker or max(1, share),
        }
    )


def require(compute: Compute, nodes: Sequence[Node]) -> None:
    """Raises ClusterError where training or scoring asks for more than the cluster has at all."""
    gpus = 1 if compute.device == "cuda" else 0
    worker, scorer = {"CPU": compute.cpus_per_worker or 1, "GPU": gpus}, {"CPU": 1, "GPU": gpus}
    for field, count, each in (
        ("compute.train_workers", compute.train_workers, worker),
        ("compute.scorers", compute.scorers or 1, scorer),
    ):
        there = sum(_fits(each, node) for node in nodes)
        if count > there:
            wanted = " and ".join(f"{n} {kind}" for kind, n in each.items() if n)
            raise ClusterError(
                f"{field} is {count}, each with {wanted}, but the cluster of {len(nodes)} nodes has"
                f" room for {there}; {_less(each, nodes)}, or add nodes"
            )


def _less(each: dict[str, int], nodes: Sequence[Node]) -> str:
    """What to ask for instead of a number of these."""
    if each["GPU"] and not total(nodes, "GPU"):
        return "use compute.device cpu or auto"
    return "lower it or compute.cpus_per_worker" if each["CPU"] > 1 else "lower it"


def at_once(compute: Compute, nodes: Sequence[Node], cores: int) -> int:
    """How many trainings have room at the same time, at least one."""
    gpus, cpus = 1 if compute.device == "cuda" else 0, compute.cpus_per_worker or 1
    workers = sum(_fits({"CPU": cpus, "GPU": gpus}, node) for node in nodes)
    if not gpus:
        workers = min(workers, cores // cpus)  # a cluster of rayal's own promises more cores
    return max(1, workers // compute.train_workers)


def fit_beside_scorers(compute: Compute, nodes: Sequence[Node], groups: int) -> bool:
    """Whether training workers can stay while scoring actors and readers work."""
    workers, scorers = groups * compute.train_workers, compute.scorers or 1
    gpus = workers + scorers if compute.device == "cuda" else 0
    cpus = workers * (compute.cpus_per_worker or 1) + scorers + 1
    return cpus <= total(nodes, "CPU") and gpus <= total(nodes, "GPU")


def _fits(each: dict[str, int], node: Node) -> int:
    """How often a bundle of resources fits on a node."""
    return min(int(_has(node, kind) // n) for kind, n in each.items() if n)


def total(nodes: Sequence[Node], kind: str) -> float:
    return sum(_has(node, kind) for node in nodes)


def _has(node: Node, kind: str) -> float:
    return node.get(kind, 0)
