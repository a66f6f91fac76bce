"""Ask the drivers on this head node to stop at their next safe point, and wait until they have.

    python jobs/cluster/drain.py [--seconds 150]

Kubernetes runs it before it stops the head's pod (`preStop`): Ray, which gets SIGTERM then, would
kill a driver at once. Whatever rayal had committed would be safe all the same; this saves the
training of the last minute, too, and leaves a job that has failed, so that KubeRay starts it again.
The token comes from the environment, as for every client of Ray's.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

HEAD = "http://127.0.0.1:8265"


def running(client: Any, ip: str) -> dict[str, int]:
    """Submission id -> process id of the drivers on the node at `ip` that have joined Ray."""
    return {
        job.submission_id: int(job.driver_info.pid)
        for job in client.list_jobs()
        if job.status == "RUNNING" and job.driver_info and job.driver_info.node_ip_address == ip
    }


def drain(client: Any, ip: str, seconds: float) -> Sequence[str]:
    """Sends one SIGTERM to each driver; returns the ids of those that run on after `seconds`."""
    left = running(client, ip)
    for pid in left.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.5)
        left = {job: pid for job, pid in left.items() if not _ended(client, job)}
    return sorted(left)


def _ended(client: Any, job: str) -> bool:
    ended: bool = client.get_job_status(job).is_terminal()
    return ended


def main() -> None:
    from ray.job_submission import JobSubmissionClient
    from ray.util import get_node_ip_address

    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=150, help="wait so long, at most")
    seconds = options.parse_args().seconds
    if left := drain(JobSubmissionClient(HEAD), get_node_ip_address(), seconds):
        sys.exit(f"drain: {', '.join(left)} did not stop within {seconds:g} s")


if __name__ == "__main__":
    main()
