"""What is different in a cluster that rayal starts on this machine, for one run, from one that it
finds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.node import Node

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where it is 0, Ray gives its node the address 127.0.0.1 and its processes listen on that alone.
Ray reads it when it is imported: for this process the constant is set."""

OWN = "RAYAL_OWN_CLUSTER"
"""The variable by which processes of such a cluster know that they are its."""

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


@contextmanager
def marked() -> Iterator[None]:
    """Processes of a cluster that starts meanwhile know that it is one of these."""
    os.environ[OWN] = "1"
    try:
        yield
    finally:
        del os.environ[OWN]


def inherits() -> bool:
    """Whether processes of the cluster that this one starts have its variables anyway: it has
    started the cluster, or is of one that rayal has started, of one machine."""
    node = ray._private.worker._global_node
    return (node is not None and node.is_head()) or OWN in os.environ


@contextmanager
def inheriting_trials() -> Iterator[None]:
    """Trials of Ray Tune have no runtime environment of their own meanwhile, which would only tell
    them variables that they inherit: with one, each of their processes, and all that these start,
    waits for a new one beside idle ones."""
    from ray.tune.execution import class_cache

    classes: Any = class_cache._ActorClassCache
    before = classes.get
    if inherits():
        classes.get = _without_environment
    try:
        yield
    finally:
        classes.get = before


def _without_environment(classes: Any, trainable: type) -> Any:
    """Of Ray Tune's cache of classes of actors the one of these trials."""
    return classes._cache.setdefault(trainable, ray.remote(trainable))
