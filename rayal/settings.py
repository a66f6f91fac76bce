"""Named values of a configuration, checked when they are made."""

import importlib
import math
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from rayal.errors import UsageError

MISTAKES = "rayal.experiment.mistakes"
"""The module that puts mistakes into words: found by name, as parts are, since it stands above."""

LARGEST, LARGEST_WHOLE = 1e30, 1e15
"""Size of the numbers of a configuration: torch holds them, and loops over them can be counted."""


WANTED = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"
    ),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "string_unicode", "string_sub_type"), "a text"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type"),
        "a mapping, as {{key: value}}",
    ),
    "path_type": "a path",
    "none_required": "null",
    "missing": "there",
    "string_too_short": "a text of length {min_length} or more",
    "string_too_long": "a text of length {max_length} at most",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "too_short": "a list of length {min_length} or more",
    "too_long": "a list of length {max_length} at most",
}
"""What pydantic's kinds of errors want, where its own words speak of Python."""


class Settings(BaseModel):
    """Named values of a configuration: frozen, finite, unknown names refused.

    A call raises UsageError with all problems; `model_validate` raises pydantic's own error, for
    whatever these are a field of.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    if not TYPE_CHECKING:  # of types there is the signature that the fields make

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                words = importlib.import_module(MISTAKES)
                raise words.of_call(error, fields, type(self)) from None

        __init__.__pydantic_base_init__ = True  # so that `model_validate` keeps its own way

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises UsageError for a field: what was checked, and may be in use, stays as it is."""
        if name in type(self).model_fields:
            kind = type(self).__name__
            raise UsageError(
                f"{kind}.{name} cannot be set, for it is frozen; make another one, by"
                f" {kind}(..., {name}=...), or of an experiment by rayal.load(path, {name}=...)"
            )
        super().__setattr__(name, value)

    @field_validator("*", mode="before")
    @classmethod
    def _a_number_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would take `true` for 1, and numbers that torch cannot multiply."""
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        if kinds & {int, float} and bool not in kinds and _holds_bool(value):
            raise PydanticCustomError("bool_for_number", "Input should be a number")
        if kinds & {int, float} and _is_huge(value):
            limit = LARGEST if isinstance(value, float) else LARGEST_WHOLE
            raise PydanticCustomError("huge", f"Input should be at most {limit:.0e} in size")
        return value


def wanted(error: ErrorDetails) -> str:
    """What pydantic wants, in words of a file: `should be a whole number`."""
    context = error.get("ctx", {})
    if error["type"] == "value_error":  # of a check of ours, or of the command line's
        return str(context["error"]).removesuffix(".")
    if (kind := WANTED.get(error["type"])) is not None:
        return f"should be {kind.format(**context)}"
    return error["msg"].removeprefix("Input ")  # "Input should be greater than 0"


def _is_huge(value: Any) -> bool:
    if isinstance(value, str):  # YAML's integers have 18 digits at most, longer ones are texts
        digits = value.lstrip("+-")
        return digits.isdecimal() and len(digits) > 18
    limit = LARGEST if isinstance(value, float) else LARGEST_WHOLE
    return isinstance(value, int | float) and limit < abs(value) < math.inf


def _kinds(annotation: Any) -> set[Any]:
    """The classes that an annotation mentions, also within tuples."""
    if get_origin(annotation) is Literal:
        return set(map(type, get_args(annotation)))
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        return {kind for each in get_args(annotation) for kind in _kinds(each)}
    return {annotation}


def _holds_bool(value: Any) -> bool:
    """Whether it is a bool, or a sequence with one."""
    return isinstance(value, bool) or (
        isinstance(value, list | tuple) and any(map(_holds_bool, value))
    )
