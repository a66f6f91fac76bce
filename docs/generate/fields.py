"""The fields of settings as rows of a table: key, what it takes, default, description."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from prose import code, escaped, table
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rayal.parts import Component, Location, Part

PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
ONE = {
    "datasets": "dataset",
    "models": "model",
    "oracles": "oracle",
    "schemes": "scheme",
    "strategies": "strategy",
    "tasks": "task",
    "trackers": "tracker",
}
"""Kind of part -> one of them."""


class Row(NamedTuple):
    """One field."""

    key: str
    """Dotted, from the experiment on: `budget.initial`."""
    takes: str
    default: str
    description: str


def rows(
    settings: type[BaseModel], prefix: str = "", without: frozenset[str] = frozenset()
) -> Iterator[Row]:
    """Its fields in the order of its file, each followed by those nested in it."""
    for name, field in settings.model_fields.items():
        if name in without:
            continue
        inner = nested(field.annotation)
        yield Row(prefix + name, takes(field), default(field), escaped(field.description or ""))
        if inner is not None:
            yield from rows(inner, f"{prefix}{name}.")


def nested(annotation: Any) -> type[BaseModel] | None:
    """The settings that a field holds, if it does; a part's own fields are a matter of the part."""
    for each in (annotation, *get_args(annotation)):
        if (
            isinstance(each, type)
            and issubclass(each, BaseModel)
            and not issubclass(each, Component)
        ):
            return each
    return None


def takes(field: FieldInfo) -> str:
    """What it accepts, in words; in Markdown."""
    return _of(field.annotation, field.metadata)


def _of(annotation: Any, metadata: Any = ()) -> str:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _of(inner, [*more, *metadata])
    for each in metadata:
        if isinstance(each, Part):
            word = ONE[each.kind]
            one = f"an {word}" if word[0] in "aeio" else f"a {word}"
            return f"{one}, or null" if _nullable(annotation) else one
    if any(each in Location.__metadata__[1:] for each in metadata):
        return "path or URL"
    if get_origin(annotation) is Literal:
        return ", ".join(code(_yaml(value)) for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not NoneType]
        words = " or ".join(_of(each, metadata) for each in kinds)
        return f"{words}, or null" if _nullable(annotation) else words
    if get_origin(annotation) is tuple:
        first, *others = get_args(annotation)
        if others == [...]:
            return f"list of: {_of(first)}"
        return f"{1 + len(others)} values: {_of(first)}"
    if get_origin(annotation) is dict or annotation is dict:
        return "mapping"
    if nested(annotation) is not None:
        return "mapping, see below"
    return PLAIN.get(annotation, "value") + _bounds(metadata)


def _nullable(annotation: Any) -> bool:
    return NoneType in get_args(annotation)


def _bounds(metadata: Any) -> str:
    """The range of a number: ` ≥ 1`."""
    found: dict[str, Any] = {}
    for each in metadata:
        match each:
            case annotated_types.Ge(ge=bound):
                found["≥"] = bound
            case annotated_types.Gt(gt=bound):
                found[">"] = bound
            case annotated_types.Le(le=bound):
                found["≤"] = bound
            case annotated_types.Lt(lt=bound):
                found["<"] = bound
    words = [f"{'&lt;' if sign == '<' else sign} {bound:g}" for sign, bound in found.items()]
    return "".join(f" {word}" if i == 0 else f", {word}" for i, word in enumerate(words))


def default(field: FieldInfo) -> str:
    """Its default as a file writes it, in Markdown."""
    if field.is_required():
        return "**required**"
    if field.default is PydanticUndefined:
        return "see there"
    if isinstance(field.default, BaseModel) and not isinstance(field.default, Component):
        return "see below"
    return code(_yaml(field.default))


def _yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Component():
            return str(value.part_name())
        case tuple() | list():
            return f"[{', '.join(map(_yaml, value))}]"
        case float():
            return f"{value:g}"
    return str(value)


def as_table(found: list[Row], owner: str = "") -> str:
    """Rows as a table, each with an anchor: its key, after that of its owner."""
    keys = (f'<span id="{owner}{row.key}"></span>`{row.key}`' for row in found)
    return table(
        ("field", "takes", "default", "what it is"),
        [(key, *row[1:]) for key, row in zip(keys, found, strict=True)],
    )
