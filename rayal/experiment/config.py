"""From a YAML file and `--set a.b=value` to an Experiment, with every mistake reported at once.

A file holds what differs from the defaults. It may stand on one other file (`extends: base.yaml`),
and the command line stands on top: mappings merge key by key, everything else replaces, and so does
a part of another name. Relative paths start from the folder of the file that holds them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from rayal.experiment.mistakes import explained, held
from rayal.parts import Part
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage import yaml_file, yaml_node, yaml_text
from rayal.storage.yaml_node import Node, Origin

if TYPE_CHECKING:
    from rayal.experiment.experiment import Experiment  # imports torch: too slow for `rayal --help`

M = TypeVar("M", bound=BaseModel)


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    plugins: Iterable[str] = NO_PLUGINS,
    fields: Mapping[str, Any] | None = None,
) -> "Experiment":
    """The experiment in a file, changed by `fields`, which merge onto it as a file onto its base,
    and then by `a.b=value` overrides; of one key, the last wins. `plugins` are packages of yours
    whose parts it may name.

    Raises UsageError with all problems, each with its place, key, value and what is allowed.
    """
    from rayal.experiment.experiment import Experiment

    return load_as(Experiment, path, overrides, plugins, fields)


def load_as(
    model: type[M],
    path: str | Path,
    overrides: Iterable[str] = (),
    plugins: Iterable[str] = NO_PLUGINS,
    fields: Mapping[str, Any] | None = None,
) -> M:
    """As `load`, for an experiment with more fields, such as `SweptExperiment`."""
    return traced(model, path, overrides, plugins, fields)[0]


def traced(
    model: type[M],
    path: str | Path,
    overrides: Iterable[str] = (),
    plugins: Iterable[str] = NO_PLUGINS,
    fields: Mapping[str, Any] | None = None,
) -> tuple[M, Node]:
    """As `load_as`, and what was written, each value with its place."""
    node = _read(model, path, overrides, fields)
    return _validated(node, model, plugins), node


def is_sweep(path: str | Path, overrides: Iterable[str] = ()) -> bool:
    """Whether a file has a block `sweep:`. Raises UsageError where it cannot be read."""
    from rayal.experiment.experiment import Experiment

    fields = _read(Experiment, path, overrides).value
    return isinstance(fields, dict) and "sweep" in fields


def written(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """What a file says, with its bases and overrides, before anything of it is looked up or
    checked, which imports torch. Raises UsageError where it cannot be read."""
    node = yaml_file.read_yaml(path, Node({}, Origin("default", None, Path.cwd())))
    for assignment in overrides:
        node = yaml_text.override(node, assignment)
    said = node.plain()
    return said if isinstance(said, dict) else {}


def _read(
    model: type[BaseModel],
    path: str | Path,
    overrides: Iterable[str],
    fields: Mapping[str, Any] | None = None,
) -> Node:
    parts = _parts(model)
    node = yaml_file.read_yaml(path, _default_parts(model), parts)
    if fields:
        given = yaml_node.given(dict(fields), "keywords")
        node = Node(yaml_node.merge(node, given, parts).value, node.origin)
    for assignment in overrides:
        node = yaml_text.override(node, assignment, parts)
    return node


def from_options(
    options: Mapping[str, Any],
    overrides: Iterable[str],
    model: type[M],
    plugins: Plugins = NO_PLUGINS,
) -> M:
    """Settings from the options of a command, changed by `a.b=value` overrides; errors as `load`'s.

    A value may be a `Node`, where it was written as YAML.
    """
    origin = Origin("command line", None, Path.cwd())
    fields = {
        key: item if isinstance(item, Node) else yaml_node.given(item, f"--{key}")
        for key, item in options.items()
    }
    node = Node(fields, origin)
    for assignment in overrides:
        node = yaml_text.override(node, assignment, _parts(model))
    return _validated(node, model, plugins)


def from_keywords(
    fields: Mapping[str, Any],
    overrides: Iterable[str],
    model: type[M],
    plugins: Plugins = NO_PLUGINS,
) -> M:
    """As `from_options`, of the keywords of a call in Python."""
    node = yaml_node.given(dict(fields), "keywords")
    for assignment in overrides:
        node = yaml_text.override(node, assignment, _parts(model))
    return _validated(node, model, plugins)


def dump(experiment: "Experiment") -> str:
    """YAML with every field, defaults included; it loads to an equal experiment."""
    return yaml_text.dump(experiment.model_dump(mode="json"))


def resolved(fields: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> "Experiment":
    """The experiment that `dump` described, as a run folder recorded it."""
    from rayal.experiment.experiment import Experiment

    text = yaml_text.dump(dict(fields))
    return parsed(Experiment, text, "experiment.yaml", plugins)


def parsed(model: type[M], text: str, source: str, plugins: Plugins = NO_PLUGINS) -> M:
    """As `resolved`, from the text of the file `source`, of an experiment with more fields too."""
    return _validated(yaml_text.parse(text, source, Path.cwd()), model, plugins)


def from_record(
    model: type[M], fields: Mapping[str, Any], source: str, plugins: Plugins = NO_PLUGINS
) -> M:
    """As `resolved`, of some fields that the file `source` records."""
    return _validated(yaml_node.given(dict(fields), source), model, plugins)


def changed(
    fields: Mapping[str, Any],
    over: Mapping[str, Any],
    source: str,
    plugins: Plugins = NO_PLUGINS,
) -> "Experiment":
    """The experiment with these fields and `over` merged on top as in a file; `source` names both
    in messages."""
    from rayal.experiment.experiment import Experiment

    below, above = (yaml_node.given(each, source) for each in (fields, over))
    node = yaml_node.merge(below, above, _parts(Experiment))
    return _validated(node, Experiment, plugins)


def _validated(node: Node, model: type[M], packages: Iterable[str]) -> M:
    plugins = Plugins(packages)
    try:
        return model.model_validate(node.plain(), context=plugins)
    except ValidationError as error:
        raise explained(error, node, model, plugins) from None  # it says the same in another form


def _parts(model: type[BaseModel]) -> set[str]:
    """The fields that hold parts: a bare name there stands for a mapping."""
    return {key for key, field in model.model_fields.items() if isinstance(held(field), Part)}


def _default_parts(model: type[BaseModel]) -> Node:
    """The parts that need not be named, by name: so `scheme.epochs=5` is enough."""
    origin = Origin("default", None, Path.cwd())
    return Node(
        {
            key: Node({"name": Node(field.default, origin)}, origin)
            for key, field in model.model_fields.items()
            if isinstance(held(field), Part) and isinstance(field.default, str)
        },
        origin,
    )
