"""What is different in a cluster that rayal starts on this machine, for one run, from one that it
finds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import ray_constants
from ray._private.node import Node

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where it is 0, Ray gives its node the address 127.0.0.1 and its processes listen on that alone.
Ray reads it when it is imported: for this process the constant is set."""

HELPERS = ("start_monitor", "start_log_monitor")
"""Of Ray's node what starts a process that a cluster of one machine does without."""


@contextmanager
def loopback() -> Iterator[None]:
    """Ray takes this machine for 127.0.0.1 meanwhile."""
    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", True), os.environ.get(LOOPBACK)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[LOOPBACK] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[0]
        os.environ.pop(LOOPBACK)
        if before[1] is not None:
            os.environ[LOOPBACK] = before[1]


@contextmanager
def fewer_helpers() -> Iterator[None]:
    """Ray starts no autoscaler, which could add nothing to one machine, and no process that hands
    on what others print, which nobody has asked for."""
    before = {name: getattr(Node, name) for name in HELPERS if hasattr(Node, name)}
    for name in before:
        setattr(Node, name, lambda node: None)
    try:
        yield
    finally:
        for name, start in before.items():
            setattr(Node, name, start)
