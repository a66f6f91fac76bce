"""The code outside rayal that an experiment runs with, by a digest of its source."""

from collections.abc import Iterator, Mapping

from rayal.experiment.experiment import Experiment
from rayal.parts import MAIN, Component
from rayal.plugins import NO_PLUGINS, Plugins, class_digest, source_digest


def plugin_sources(x: Experiment, plugins: Plugins = NO_PLUGINS) -> dict[str, str]:
    """Package -> sha256 of its source: of those that parts of the experiment come from, and of
    those that are allowed; and `__main__.Mine` -> that of a notebook's or script's class. Without
    code of which there is no source."""
    kinds = {type(part) for part in (*parts_in(x), *x.companions(), *x.fits())}
    own = {kind for kind in kinds if kind.__module__ == MAIN}
    used = {kind.__module__.partition(".")[0] for kind in kinds - own} - {"rayal"}
    digests = {package: source_digest(package) for package in sorted(used | plugins)}
    digests |= {f"{MAIN}.{kind.__qualname__}": class_digest(kind) for kind in own}
    return {name: digest for name, digest in digests.items() if digest is not None}


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
