"""The code outside rayal that an experiment runs with, by a digest of its source."""

from collections.abc import Iterator, Mapping

from rayal.experiment.experiment import Experiment
from rayal.parts import Component
from rayal.plugins import NO_PLUGINS, Plugins, source_digest


def plugin_sources(x: Experiment, plugins: Plugins = NO_PLUGINS) -> dict[str, str]:
    """Package -> sha256 of its source: of those that parts of the experiment come from, and of
    those that are allowed. Without code that lies in no file, such as a notebook's."""
    modules = {type(part).__module__ for part in (*parts_in(x), *x.companions())}
    used = {module.partition(".")[0] for module in modules} - {"rayal"}
    digests = {package: source_digest(package) for package in sorted(used | plugins)}
    return {package: digest for package, digest in digests.items() if digest is not None}


def parts_in(held: object) -> Iterator[Component]:
    """The parts among the values of a configuration, or of mappings and lists, however deep."""
    if isinstance(held, Component):
        yield held
    if isinstance(held, Mapping):
        values = list(held.values())
    elif isinstance(held, list | tuple):
        values = list(held)
    else:
        fields = getattr(type(held), "model_fields", {})
        values = [getattr(held, name) for name in fields]
    for value in values:
        yield from parts_in(value)
