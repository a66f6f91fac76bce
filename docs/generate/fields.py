"""The fields of settings as rows of a table: key, what it takes, default, meaning."""

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Any, NamedTuple, get_args

from prose import code, escaped, table
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rayal.experiment.described.options import Option, worded
from rayal.location import Location
from rayal.parts import Component, Part
from rayal.storage import yaml_text

ONE = {
    "datasets": "dataset",
    "formats": "format",
    "models": "model",
    "oracles": "oracle",
    "schemes": "scheme",
    "strategies": "strategy",
    "tasks": "task",
    "trackers": "tracker",
}
"""Kind of part -> one of them."""


class Row(NamedTuple):
    """One field, in Markdown but for its key."""

    key: str
    """Dotted, from the experiment on: `budget.initial`."""
    takes: str
    default: str
    meaning: str


def rows(settings: type[BaseModel], prefix: str = "") -> Iterator[list[Row]]:
    """For each field, in the order of its file: its row, and those nested in it."""
    for name, field in settings.model_fields.items():
        meaning = escaped(field.description or "")
        own = Row(prefix + name, _takes(field), _default(field), meaning)
        block = nested(field)
        inner = rows(block, f"{prefix}{name}.") if block else ()
        yield [own, *(row for group in inner for row in group)]


def nested(field: FieldInfo) -> type[BaseModel] | None:
    """The settings that a field holds, if it does; the fields of a part are told with the part."""
    for each in (field.annotation, *get_args(field.annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return None if issubclass(each, Component) else each
    return None


def of_options(options: Iterable[Option]) -> list[Row]:
    """Rows of a part's options, as it describes them."""
    return [
        Row(
            option.name,
            escaped(option.type),
            "**required**" if option.required else code(option.shown_default()),
            escaped(option.meaning),
        )
        for option in options
    ]


def _takes(field: FieldInfo) -> str:
    """What it accepts, in words."""
    kinds = _kinds([field, *get_args(field.annotation)])
    if any(mark in get_args(Location)[1:] for mark in field.metadata):
        return "path or URL"
    if not kinds:
        return "mapping, see below" if nested(field) else escaped(worded(field))
    one = f"{'an' if ONE[kinds[0]][0] in 'aeio' else 'a'} {ONE[kinds[0]]}"
    if NoneType in get_args(field.annotation):
        return f"{one}, or null"
    return one if any(isinstance(each, Part) for each in field.metadata) else f"list of: {one}"


def _kinds(annotated: list[Any]) -> list[str]:
    """The kinds of parts that a field holds."""
    marks = [getattr(each, "metadata", getattr(each, "__metadata__", ())) for each in annotated]
    return [mark.kind for some in marks for mark in some if isinstance(mark, Part)]


def _default(field: FieldInfo) -> str:
    """Its default as a file writes it."""
    if field.is_required():
        return "**required**"
    if field.default is PydanticUndefined:
        return "follows from others"
    if isinstance(field.default, Component):
        return code(str(field.default.part_name()))
    if isinstance(field.default, BaseModel):
        return "see below"
    value = field.default
    return code(yaml_text.flow(list(value) if isinstance(value, tuple) else value))


def as_table(found: list[Row], owner: str = "") -> str:
    """Rows as a table, each with an anchor: its key, after that of its owner."""
    keys = (f'<span id="{owner}{row.key}"></span>`{row.key}`' for row in found)
    return table(
        ("field", "takes", "default", "what it is"),
        [(key, *row[1:]) for key, row in zip(keys, found, strict=True)],
    )
