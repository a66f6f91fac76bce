"""What this machine gives this process: a container or a batch slot has less than the hardware."""

import os
import shutil
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "<microseconds or max> <period>"
SHARED_MEMORY = Path("/dev/shm")


def cores() -> int:
    """CPU cores that this process may use: by affinity, and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(allowed or 1, _quota() or allowed or 1))


def _quota() -> int | None:
    try:
        limit, period = CGROUP_QUOTA.read_text().split()
    except (OSError, ValueError):  # no cgroup v2 here
        return None
    return None if limit == "max" else -(-int(limit) // int(period))


def shared_memory() -> int | None:
    """Free bytes of the memory that processes share; None where there is no such folder."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None
