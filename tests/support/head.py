"""The head of a cluster in processes of its own, which a test may kill."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ray_head(log: Path, env: dict[str, str], cpus: int = 1) -> Iterator[tuple[str, int]]:
    """The address of a cluster of one node, and its process group; it ends with the context."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
        *("--port", str(port), "--num-cpus", str(cpus), "--include-dashboard", "false"),
        *("--temp-dir", tempfile.mkdtemp(prefix="ray-", dir="/tmp")),  # sockets need a short path
    ]
    with open(log, "wb") as out:
        head = subprocess.Popen(
            command, env=os.environ | env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while b"Ray runtime started" not in log.read_bytes():
            assert head.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}", head.pid
    finally:
        os.killpg(head.pid, signal.SIGKILL)  # asked to end, it would drain itself for half a minute
        head.wait()
        shutil.rmtree(command[-1], ignore_errors=True)
