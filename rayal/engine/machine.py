"""What this machine gives this process: a container or a batch slot has less than the hardware."""

import logging
import os
import shutil
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "<microseconds or max> <period>"
SHARED_MEMORY = Path("/dev/shm")
ENOUGH = 2**30
"""Bytes of it; Docker gives 64 MB."""

logger = logging.getLogger(__name__)


def cores() -> int:
    """CPU cores that this process may use: by affinity, and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(allowed or 1, _quota() or allowed or 1))


def own_cpus(cores: int) -> int:
    """What a cluster that rayal starts on a machine of so many cores promises: training workers
    keep theirs while they wait, and reading never has to wait for actors that hold the rest, on a
    small machine for ever."""
    return 2 * cores + 2


def _quota() -> int | None:
    try:
        limit, period = CGROUP_QUOTA.read_text().split()
    except (OSError, ValueError):  # no cgroup v2 here
        return None
    return None if limit == "max" else -(-int(limit) // int(period))


def tell_of_little_shared_memory() -> None:
    """Warns where processes can share so little that Ray goes through files; its own warning is
    silenced with the rest of what it says."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # systems without it
        return
    if free < ENOUGH:
        logger.warning(
            f"{SHARED_MEMORY} has only {free // 2**20} MB free: Ray goes through files in its"
            " temporary folder, which is slower; start a container with --shm-size=2g"
        )
