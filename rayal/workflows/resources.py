"""What a machine or a cluster has, and what it cannot give."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import torch

from rayal.experiment.compute import Compute


class Resources(NamedTuple):
    """What a machine or a cluster has."""

    cpus: int
    gpus: int

    @classmethod
    def here(cls) -> "Resources":
        """Those of this machine."""
        return cls(os.cpu_count() or 1, torch.cuda.device_count())


def shortages(compute: Compute, has: Resources) -> Iterator[str]:
    """What a machine or cluster that has this cannot give."""
    if compute.device == "cuda" and not has.gpus:
        yield "compute.device: cuda, but there is no GPU; use cpu or auto"
        return
    on_gpu = has.gpus > 0 and compute.device != "cpu"
    kind, there = ("GPUs", has.gpus) if on_gpu else ("CPUs", has.cpus)
    per_worker = 1 if on_gpu else compute.cpus_per_worker or 1
    by_cores = " or compute.cpus_per_worker" if per_worker > 1 else ""
    demands = {
        "compute.train_workers": (compute.train_workers * per_worker, by_cores),
        "compute.scorers": (compute.scorers or 1, ""),
    }
    for key, (wanted, also) in demands.items():
        if wanted > there:
            yield f"{key}: takes {wanted} {kind}, there are {there}; lower it{also}"
