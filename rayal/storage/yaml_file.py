"""A YAML file read strictly, with the place where every value was written.

Plain values only: no tags, no aliases, no key twice, and the scalars of YAML 1.2, so `on`, `no`,
`1:30` and `0123` are strings while `1e-3` is a number. One `extends:` names the file underneath.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rayal.errors import UsageError, quoted
from rayal.location import Written, expanded
from rayal.secrets import HIDDEN, hidden, named

MAX_BYTES = 2**20  # a configuration is a few kB; more is the wrong file
MAX_DEPTH = 32  # libyaml's composer recurses without a limit of its own and ends in a segfault

SEAL = "# sha256 "

Key = str | int
Scalar = None | bool | int | float | str


class Origin(NamedTuple):
    """Where a value was written, and what a relative path there is relative to."""

    source: str
    line: int | None
    folder: Path

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Node:
    """A value and where it was written."""

    value: "Scalar | list[Node] | dict[str, Node]"
    origin: Origin

    def plain(self) -> Any:
        """The value alone; its strings remember the folder that paths are relative to."""
        match self.value:
            case dict():
                return {key: node.plain() for key, node in self.value.items()}
            case list():
                return [node.plain() for node in self.value]
            case Written():  # a value read before
                return self.value
            case str():
                return Written(self.value, self.origin.folder)
        return self.value

    def at(self, keys: Sequence[Key]) -> "Node":
        """The node under these keys, or the deepest one on the way that exists."""
        match self.value, keys:
            case dict(), [str(key), *rest] if key in self.value:
                return self.value[key].at(rest)
            case list(), [int(index), *rest] if index < len(self.value):
                return self.value[index].at(rest)
        return self


def read_yaml(path: str | Path, on: Node, parts: Collection[str] = ()) -> Node:
    """The mapping in a file, on top of the file that it `extends` and so on, down to `on`; `parts`
    as `merge` has them.

    Raises UsageError with file and line for whatever is not a plain YAML mapping.
    """
    return _read(Path(path), on, parts, ())


def check(path: Path) -> None:
    """Raises UsageError as `read_yaml`, for a file and those that it extends."""
    read_yaml(path, Node({}, Origin(str(path), None, path.parent)))


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


def given(plain: Any, source: str) -> Node:
    """A value that was not written as YAML; `source` names it in messages."""
    origin = Origin(source, None, Path.cwd())
    match plain:
        case dict():
            return Node({key: given(item, source) for key, item in plain.items()}, origin)
        case list() | tuple():
            return Node([given(item, source) for item in plain], origin)
    return Node(plain, origin)


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


def merge(base: Node, over: Node, parts: Collection[str] = ()) -> Node:
    """The mapping `over` on top of the mapping `base`, key by key.

    Below that, mappings merge too and anything else replaces. A bare `cod` stands for
    `{name: cod}` where it is merged with a mapping under one of the keys `parts`, whichever of both
    is above; a mapping of another `name` replaces the whole part instead of merging.
    """
    below, above = _fields(base), _fields(over)
    merged = {
        key: _stack(below[key], node, key in parts) if key in below else node
        for key, node in above.items()
    }
    return Node({**below, **merged}, over.origin)


def leaves(fields: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested fields by keys such as `scheme.lr`; a part's name is at `scheme`."""
    for name, item in fields.items():
        key = at if name == "name" and at else f"{at}.{name}" if at else name
        if isinstance(item, Mapping):
            yield from leaves(item, key)
        else:
            yield key, item


def dump(value: Any) -> str:
    """YAML that reads back as `value`: mappings, sequences and scalars."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def flow(value: Any, width: int = 2**20) -> str:
    """YAML that reads back as `value`, for a place inside of other YAML: one line, or several where
    it has more signs than `width`."""
    style: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "width": width}
    written: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, **style)
    return written.removesuffix("...\n").strip()


def sealed(text: str) -> str:
    """A text of whole lines with the sha256 of it in a comment at the end, for `unsealed`."""
    return f"{text}{SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n"


def unsealed(data: bytes) -> str:
    """The text that was sealed; one without a seal, as rayal 0.4 wrote it, is taken as it is.

    Raises ValueError where a bit of it has changed.
    """
    whole = data.decode()
    text, seal, _ = whole.rpartition(SEAL)
    if seal and whole != sealed(text):
        raise ValueError("its content does not match its sha256")
    return text if seal else whole


def _stack(base: Node, over: Node, part: bool) -> Node:
    if part and isinstance(base.value, dict) and isinstance(over.value, str):
        over = Node({"name": over}, over.origin)
    if not isinstance(over.value, dict):
        return over
    name, other = (_fields(node).get("name") for node in (base, over))
    if name and other and name.value != other.value:
        return over
    return merge(base, over)


def _fields(node: Node) -> dict[str, Node]:
    match node.value:
        case dict():
            return node.value
        case str():
            return {"name": node}
    return {}


def _read(path: Path, on: Node, parts: Collection[str], above: tuple[Path, ...]) -> Node:
    above = (*above, path.resolve())
    document = parse(_text(path), str(path), path.parent.absolute())
    fields = dict(_fields(document))
    extends = fields.pop("extends", None)
    if extends is not None:
        on = _read(_base(path, extends, above), on, parts, above)
    return merge(on, Node(fields, document.origin), parts)


def _base(path: Path, extends: Node, above: tuple[Path, ...]) -> Path:
    if not isinstance(extends.value, str):
        raise UsageError(f"{extends.origin}: extends: expected one file name")
    try:
        base = path.parent / expanded(extends.value)
    except ValueError as error:
        raise UsageError(f"{extends.origin}: extends: {error}") from error
    if not base.exists():
        raise UsageError(
            f"{extends.origin}: extends: {base}: there is no such file; check the path"
        )
    if base.resolve() in above:
        chain = " -> ".join(file.name for file in (*above, base))
        raise UsageError(
            f"{extends.origin}: extends: goes round in a circle: {chain}; remove one of these lines"
        )
    return base


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"{path}: more than {MAX_BYTES} bytes; this is no configuration file")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})") from error


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
