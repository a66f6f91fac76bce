"""Joins a Ray cluster, or starts one that only this machine can reach; says why where it cannot.

Light: what works on the cluster is imported while its processes start.
"""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import ray
from ray.util import get_node_ip_address

from rayal.engine import machine
from rayal.engine.own_cluster import fewer_helpers, loopback, marked
from rayal.errors import ClusterError

ADDRESS = "RAY_ADDRESS"
"""The variable that Ray takes an address from."""
MOST_PORTS = 65535
PROBE_SECONDS = 5.0  # a dead address, or another server's, makes ray.init retry for minutes
SETTINGS = b"\4"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0\0\0\0\0"
"""How a gRPC client begins: HTTP/2's preface and a frame of settings; the server sends its own."""
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong arrives as an exception, and is said once
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process that nobody asks
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a run waits for the end of its last workers
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # as Ray Train has it for its own actors
    "RAY_worker_niceness": "0",  # by default any other program takes nearly all that they want
}
"""Of Ray, unless somebody has set them."""

logger = logging.getLogger(__name__)


def connect(address: str | None, *, cores: int | None = None) -> int:
    """Joins the cluster at `address` (host:port or `auto`; null: $RAY_ADDRESS), or starts one on
    this machine for this run where none is named, or `local` is.

    Returns the number of its cores. A cluster of its own has `cores`, null for those of the
    machine, and promises more, see `machine.own_cpus`.
    Raises ClusterError within seconds where nothing answers at the address.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get(ADDRESS) or "local"
    if address == "local":
        cores = cores or machine.cores()
        machine.tell_of_little_shared_memory()
        start(machine.own_cpus(cores))
        return cores
    join(address)
    return int(ray.cluster_resources().get("CPU", 1))


def disconnect() -> None:
    """Leaves the cluster, and stops it where `connect` started it."""
    with suppress(ConnectionError):
        ray.shutdown()


def join(address: str) -> None:
    """Joins the cluster at an address, or `auto`; ClusterError with the way out where it cannot."""
    if address != "auto":
        _probe(address)
    with loopback() if _for_this_machine(address) else nullcontext():
        _init(address)


def start(cpus: int) -> None:
    """Starts a cluster that listens on 127.0.0.1 only; its token is for its owner alone."""
    guard_token()
    with loopback(), fewer_helpers(), marked():
        _init("local", num_cpus=cpus, include_dashboard=False)
    guard_token()  # Ray makes one where there is none


def _for_this_machine(address: str) -> bool:
    """Whether it is a cluster that listens on 127.0.0.1 alone, as `start` makes it."""
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        own = get_node_ip_address()
        socket.create_connection((own, int(port)), timeout=PROBE_SECONDS).close()
    except OSError:
        return True
    return False


def guard_token() -> None:
    """Takes the token that Ray keeps in the home folder away from others who can read it: whoever
    has it runs anything on the cluster."""
    with suppress(OSError, RuntimeError):  # no such file, or no home
        file = Path("~/.ray/auth_token").expanduser()
        if file.stat().st_mode & 0o077 and file.stat().st_uid == os.getuid():
            file.chmod(0o600)
            logger.info("others could read Ray's token in %s; now only you can", file)


def _init(address: str, **options: Any) -> None:
    try:
        with _handlers_kept(), _silenced_stderr():  # its C++ part announces its log level there
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        known = isinstance(error, ConnectionError | RuntimeError | ValueError | OSError)
        if not known and type(error) is not Exception:  # which Ray raises for a node that is late
            raise
        raise ClusterError(f"Ray at {address!r} cannot be used: {_explained(error)}") from error


def _explained(error: Exception) -> str:
    """The cause, with the way out of this one."""
    said = " ".join(str(error).split())[:300]
    if "AF_UNIX" in said:
        own = os.environ.get("RAY_TMPDIR")
        where = f"RAY_TMPDIR is {own}" if own else f"TMPDIR is {tempfile.gettempdir()}"
        return (
            f"the path of its sockets is longer than 107 signs, as {where}; set RAY_TMPDIR to a"
            " short path such as /tmp"
        )
    if "timed out during startup" in said:
        return (
            f"{said}; this machine is too busy or has too little memory left: stop other programs,"
            " or work without Ray, --set compute.engine=local (in Python:"
            " compute={'engine': 'local'})"
        )
    home = os.environ.get("HOME", "")
    if isinstance(error, OSError) and home and home in said:
        return (
            f"{said}: it keeps its token there, and HOME is {home}; set HOME to a folder that can"
            " be written"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return f"{said}; see that there is room, and that RAY_TMPDIR (else /tmp) can be written"
    return (
        f"{said}; a cluster with token authentication needs RAY_AUTH_MODE=token, and"
        " RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
    )


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Who handles SIGTERM still does, in place of Ray; where nobody does, Ray may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _probe(address: str) -> None:
    given = f"{address} (${ADDRESS})" if os.environ.get(ADDRESS) == address else address
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            f"{given} is the address of a job server, where `rayal submit --address` sends work;"
            " give host:port of `ray start --head --port`, or `--address local` to run here"
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or int(port) > MOST_PORTS:  # a larger one is taken modulo
        raise ClusterError(f"{given} is not the address of a Ray cluster; give host:port")
    try:
        with socket.create_connection((host, int(port)), timeout=PROBE_SECONDS) as connection:
            connection.sendall(HELLO)
            answer = connection.recv(9)
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {given} ({error}); start a cluster with `ray start --head`, or"
            " give `--address local` to run on this machine"
        ) from error
    if answer[3:4] != SETTINGS and os.environ.get("RAY_USE_TLS", "0") in ("0", "false"):
        raise ClusterError(
            f"what answers at {given} is not Ray; give the port of `ray start --head --port`, "
            "6379 unless another was chosen (8265 is the dashboard's)"
        )
