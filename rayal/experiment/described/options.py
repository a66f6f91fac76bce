"""The options of a part in words: type, range, default, meaning."""

from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types as limits
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rayal.location import Location
from rayal.parts import Part, written_out
from rayal.storage import yaml_text


class Option(NamedTuple):
    """A field of a part, or of what one of its fields holds: `teacher.alpha`."""

    name: str
    type: str
    """`whole number at least 2`"""
    default: Any
    """As JSON has it; None where it is `required` too."""
    required: bool
    meaning: str
    shared: bool
    """Whether all parts of the kind have it."""

    def shown_default(self) -> str:
        """`required`, or the default as YAML writes it."""
        return "required" if self.required else yaml_text.flow(self.default)


_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_LIMITS = {
    limits.Ge: ("at least {}", "ge"),
    limits.Gt: ("above {}", "gt"),
    limits.Le: ("at most {}", "le"),
    limits.Lt: ("below {}", "lt"),
    limits.MinLen: ("({} or more)", "min_length"),
}


def options(
    model: type[BaseModel], usual: BaseModel | None, contract: type[BaseModel]
) -> list[Option]:
    """Of every field; `usual` is one with the defaults, None where there is none; `contract` has
    the fields that all parts of the kind have."""
    found = [each for name in model.model_fields for each in _of_field(model, name, usual)]
    return [
        each._replace(shared=each.name.partition(".")[0] in contract.model_fields) for each in found
    ]


def _of_field(model: type[BaseModel], name: str, usual: BaseModel | None) -> Iterator[Option]:
    field = model.model_fields[name]
    inner = _block(field.annotation)
    meaning = " ".join((field.description or "").split())
    default = _default(name, field, usual)
    kind = next((mark.kind for mark in field.metadata if isinstance(mark, Part)), None)
    if kind is not None:
        default = written_out(getattr(usual, name, default))
        yield Option(name, f"one of the {kind}", default, field.is_required(), meaning, False)
        return
    if inner is None:
        yield Option(name, worded(field), default, field.is_required(), meaning, shared=False)
        return
    there = getattr(usual, name, None)
    if NoneType in get_args(field.annotation):
        yield Option(name, "a mapping, or null", default, False, meaning, shared=False)
        there = there or inner.model_construct()
    for key in inner.model_fields:
        for option in _of_field(inner, key, there):
            yield option._replace(name=f"{name}.{option.name}")


def _block(annotation: Any) -> type[BaseModel] | None:
    """The settings that a field holds, if it holds settings; it may also hold null."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def worded(field: FieldInfo) -> str:
    """The type of a field, and what it is limited to: `number at least 0 and below 1`."""
    arguments = get_args(field.annotation)
    if NoneType in arguments and len(arguments) == 2:
        (kind,) = (each for each in arguments if each is not NoneType)
        return f"{_with_limits(_type(kind), field.metadata)}, or null"
    return _with_limits(_type(field.annotation), field.metadata)


def _default(name: str, field: FieldInfo, usual: BaseModel | None) -> Any:
    """As JSON; of one that depends on other fields what it is where all have their defaults."""
    if field.is_required():
        return None
    if field.default_factory is not None:
        value = getattr(usual, name, None)
    else:
        value = field.get_default()
    return written_out(value)


def _type(annotation: Any) -> str:
    arguments = get_args(annotation)
    if annotation == Location:
        return "path or URL"
    if annotation is NoneType:
        return "null"
    if annotation in _WORDS:
        return _WORDS[annotation]
    if get_origin(annotation) is Annotated:
        kind, *metadata = arguments
        return _with_limits(_type(kind), metadata)
    if get_origin(annotation) is Literal:
        return _or(f"`{each}`" for each in arguments)
    if get_origin(annotation) in (Union, UnionType):
        some = [_type(each) for each in arguments if each is not NoneType]
        return ", or ".join([_or(some), *["null"] * (NoneType in arguments)])
    if get_origin(annotation) is tuple and arguments[-1] is Ellipsis:
        return f"a list of: {_type(arguments[0])}"
    if get_origin(annotation) is tuple:
        return f"a list of {len(arguments)}: {_type(arguments[0])}"
    if get_origin(annotation) is dict:
        return "mapping"
    return str(getattr(annotation, "__name__", annotation))


def _with_limits(kind: str, metadata: Iterable[Any]) -> str:
    """`whole number at least 2`; those of a field may be wrapped once more."""
    metadata = [
        limit
        for each in metadata
        for limit in (each.metadata if isinstance(each, FieldInfo) else [each])
    ]
    said = [
        word.format(_number(getattr(each, attribute)))
        for limit, (word, attribute) in _LIMITS.items()
        for each in metadata
        if isinstance(each, limit)
    ]
    return " ".join([kind, *filter(None, [" and ".join(said)])])


def _number(value: float) -> str:
    return f"{int(value) if value == int(value) else value:,}"


def _or(words: Iterable[str]) -> str:
    *several, last = words
    return f"{', '.join(several)} or {last}" if several else last
