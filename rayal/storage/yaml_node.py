"""Values with the place where each was written, laid on top of one another."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rayal.location import Written

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


def given(plain: Any, source: str) -> Node:
    """A value that was not written as YAML; `source` names it in messages."""
    origin = Origin(source, None, Path.cwd())
    match plain:
        case dict():
            return Node({key: given(item, source) for key, item in plain.items()}, origin)
        case list() | tuple():
            return Node([given(item, source) for item in plain], origin)
    return Node(plain, origin)


def merge(base: Node, over: Node, parts: Collection[str] = ()) -> Node:
    """The mapping `over` on top of the mapping `base`, key by key.

    Below that, mappings merge too and anything else replaces. A bare `cod` stands for
    `{name: cod}` where it is merged with a mapping under one of the keys `parts`, whichever of both
    is above; a mapping of another `name` replaces the whole part instead of merging.
    """
    below, above = fields_of(base), fields_of(over)
    merged = {
        key: _stack(below[key], node, key in parts) if key in below else node
        for key, node in above.items()
    }
    return Node({**below, **merged}, over.origin)


def _stack(base: Node, over: Node, part: bool) -> Node:
    if part and isinstance(base.value, dict) and isinstance(over.value, str):
        over = Node({"name": over}, over.origin)
    if not isinstance(over.value, dict):
        return over
    name, other = (fields_of(node).get("name") for node in (base, over))
    if name and other and name.value != other.value:
        return over
    return merge(base, over)


def fields_of(node: Node) -> dict[str, Node]:
    """Of a mapping, or of a bare name, which stands for a mapping of it; none of anything else."""
    match node.value:
        case dict():
            return node.value
        case str():
            return {"name": node}
    return {}


def leaves(fields: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested fields by keys such as `scheme.lr`; a part's name is at `scheme`."""
    for name, item in fields.items():
        key = at if name == "name" and at else f"{at}.{name}" if at else name
        if isinstance(item, Mapping):
            yield from leaves(item, key)
        else:
            yield key, item
