"""Every value of an experiment, and where it comes from."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.parts import written_out
from rayal.plugins import NO_PLUGINS
from rayal.secrets import HIDDEN, hidden, named
from rayal.storage.yaml_node import Node

DEFAULT = "default"
"""The origin of what nobody wrote."""


class Setting(NamedTuple):
    """One value."""

    key: str
    """Where it stands: `scheme.epochs`; a part's name is at `scheme`."""
    value: Any
    """As it is resolved: paths are absolute, defaults filled in; a secret is `***`."""
    origin: str
    """`FILE:LINE`, `--set ...`, `keywords` or `default`."""


def origins(
    path: str | Path,
    overrides: Iterable[str] = (),
    plugins: Iterable[str] = NO_PLUGINS,
    fields: Mapping[str, Any] | None = None,
) -> list[Setting]:
    """All values of the experiment, or sweep, in a file, in the order of its fields; arguments and
    errors as `config.load`."""
    overrides = list(overrides)
    model = SweptExperiment if config.is_sweep(path, overrides) else Experiment
    x, node = config.traced(model, path, overrides, plugins, fields)
    return list(_settings(written_out(x), node, ""))


def _settings(value: Any, node: Node | None, key: str) -> Iterator[Setting]:
    for name, item in _inside(value):
        if name == "name" and key:
            at = key
        else:
            at = f"{key}.{name}" if key else str(name)
        yield from _settings(item, _below(node, name), at)
    if not _inside(value):
        secret = named(key.rpartition(".")[2]) and isinstance(value, str)
        shown = HIDDEN if secret else hidden(value) if isinstance(value, str) else value
        yield Setting(key, shown, _origin(node))


def _inside(value: Any) -> list[tuple[str | int, Any]]:
    """What has a line of its own: the fields of mappings, and of those that are in a list."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return list(enumerate(value))
    return []


def _below(node: Node | None, name: str | int) -> Node | None:
    """What was written there; a bare word is the name of a part."""
    if node is None:
        return None
    if name == "name" and isinstance(node.value, str):
        return node
    found = node.at([name])
    return None if found is node else found


def _origin(node: Node | None) -> str:
    return DEFAULT if node is None else str(node.origin)
