"""Text of strict YAML, read with the place where every value was written, and written.

Plain values only: no tags, no aliases, no key twice, and the scalars of YAML 1.2, so `on`, `no`,
`1:30` and `0123` are strings while `1e-3` is a number.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from rayal.errors import UsageError, quoted
from rayal.location import Written
from rayal.secrets import HIDDEN, hidden, named
from rayal.storage.yaml_node import Node, Origin, merge

MAX_DEPTH = 32  # libyaml's composer recurses without a limit of its own and ends in a segfault


def parse(text: str, source: str, folder: Path) -> Node:
    """The mapping in a text; `source` names it in messages."""
    origin = Origin(source, 1, folder)
    node = _Builder(origin).build(text)
    if not isinstance(node.value, dict):
        held = "a list" if isinstance(node.value, list) else quoted(node.value)
        raise UsageError(f"{source}: expected `key: value` lines, got {held}")
    return Node(node.value, origin)


def value(text: str, source: str) -> Node:
    """One YAML value of the command line; `source` names it in messages."""
    return _Builder(Origin(source, None, Path.cwd())).build(text)


def override(base: Node, assignment: str, parts: Collection[str] = ()) -> Node:
    """`base` with one `a.b=value` of the command line on top; the value is YAML; `parts` as `merge`
    has them."""
    key, equals, text = assignment.partition("=")
    shown = f"{key}={HIDDEN}" if equals and named(key) else hidden(assignment)
    source = f"--set {shown}"
    if not equals or not all(key.split(".")):
        raise UsageError(f"{source}: expected key=value, for example scheme.epochs=20")
    if not text.strip():
        raise UsageError(f"{source}: has no value; write null for none, '' for an empty string")
    node = value(text, source)
    for part in reversed(key.split(".")):
        node = Node({part: node}, node.origin)
    return Node(merge(base, node, parts).value, base.origin)


def dump(value: Any) -> str:
    """YAML that reads back as `value`: mappings, sequences and scalars."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def flow(value: Any, width: int = 2**20) -> str:
    """YAML that reads back as `value`, for a place inside of other YAML: one line, or several where
    it has more signs than `width`."""
    style: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "width": width}
    written: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, **style)
    return written.removesuffix("\n...\n").strip()


class _Builder:
    """Builds the nodes of one text, whose origin has a line if the text is a file's."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def build(self, text: str) -> Node:
        try:
            self._refuse_all_but_plain(text)
            loader = _Loader(text)
            root = loader.get_single_node()
            return Node({}, self._origin) if root is None else self._node(root, loader)
        except yaml.MarkedYAMLError as error:
            problem = _problem(error.problem, error.problem_mark, text)
            raise self._error(error.problem_mark, problem) from error
        except (yaml.YAMLError, UnicodeEncodeError) as error:  # a character that may not occur
            raise UsageError(f"{self._origin}: {' '.join(str(error).split())}") from error

    def _refuse_all_but_plain(self, text: str) -> None:
        depth = 0
        for event in yaml.parse(text, _Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise self._error(event.start_mark, f"nested more than {MAX_DEPTH} deep")
            if tag := getattr(event, "tag", None):
                raise self._error(event.start_mark, f"tag {quoted(tag)}; write plain values only")
            if anchor := getattr(event, "anchor", None):
                raise self._error(event.start_mark, f"alias {quoted(anchor)}; write the value out")

    def _node(self, node: yaml.Node, loader: "_Loader", key: yaml.Node | None = None) -> Node:
        value: Any
        match node:
            case yaml.MappingNode():
                value = self._mapping(node, loader)
            case yaml.SequenceNode():
                value = [self._node(item, loader) for item in node.value]
            case _:
                value = loader.construct_object(node)
        return Node(value, self._at((key or node).start_mark))

    def _mapping(self, node: yaml.MappingNode, loader: "_Loader") -> dict[str, Node]:
        fields: dict[str, Node] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value.isprintable():
                raise self._error(key.start_mark, "a key must be a printable word")
            if key.value in fields:
                first = fields[key.value].origin
                raise self._error(
                    key.start_mark, f"{quoted(key.value)} is given twice, first at {first}"
                )
            fields[key.value] = self._node(item, loader, key)
        return fields

    def _at(self, mark: Any) -> Origin:
        return self._origin._replace(line=self._origin.line and mark.line + 1)

    def _error(self, mark: Any, problem: str) -> UsageError:
        return UsageError(f"{self._at(mark)}: {problem}")


def _problem(problem: str | None, mark: Any, text: str) -> str:
    if re.match(r" *\t", "".join(text.splitlines()[mark.line : mark.line + 1])):
        return "a tab; YAML is indented with spaces"
    return f"not valid YAML: {problem}"


class _Loader(yaml.CSafeLoader):
    """The safe loader with the scalars of YAML 1.2 (core schema, decimal numbers only)."""

    yaml_implicit_resolvers: dict[str, Any] = {}


class _Dumper(yaml.CSafeDumper):
    """Quotes every string that a reader of YAML 1.2, or of 1.1, would take for something else."""


_SCALARS = {  # tag: what such a scalar looks like, the characters it can begin with
    "null": (r"(~|null|Null|NULL|)", ["~", "n", "N", ""]),
    "bool": (r"(true|True|TRUE|false|False|FALSE)", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    "float": (
        r"([-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))",
        list("-+.0123456789"),
    ),
}
for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(_pattern + r"\Z"), _first
        )

_Dumper.add_representer(Written, yaml.representer.SafeRepresenter.represent_str)
