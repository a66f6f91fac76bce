"""What is wrong with a configuration: where it is written, its key, its value, what is allowed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from rayal.errors import UsageError, cut
from rayal.parts import Part, find, names, suggest
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.secrets import hidden
from rayal.settings import wanted
from rayal.storage.yaml_node import Key, Node, given

CONSEQUENCE = "default_factory_not_called"  # a default that depends on a field in error


def of_call(
    error: ValidationError, fields: Mapping[str, Any], model: type[BaseModel]
) -> UsageError:
    """What kept the call `model(**fields)` from making one."""
    return explained(error, given(dict(fields), f"{model.__name__}(...)"), model)


def explained(
    error: ValidationError, node: Node, model: type[BaseModel], plugins: Plugins = NO_PLUGINS
) -> UsageError:
    """What kept `model` from being read from a node: all problems, in the order of their places."""
    details = [item for item in error.errors() if not _follows(item, error.errors())]
    details.sort(key=lambda item: node.at(item["loc"]).origin[:2])
    problems = [_describe(item, node, model, plugins) for item in details]
    return UsageError.of(problems, where=node.origin.source)


def _follows(error: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Whether it says nothing but that another is there: items in error are not counted."""
    place = error["loc"]
    return error["type"] == CONSEQUENCE or (
        error["type"] == "too_short"
        and any(each["loc"][: len(place)] == place != each["loc"] for each in others)
    )


def _describe(error: ErrorDetails, node: Node, model: type[BaseModel], plugins: Plugins) -> str:
    """One problem: where it is written, its key, and what to do."""
    keys = error["loc"]
    advice = _advice(error, node, model, plugins)
    return ": ".join([str(node.at(keys).origin), *filter(None, [".".join(map(str, keys))]), advice])


def _advice(error: ErrorDetails, node: Node, model: type[BaseModel], plugins: Plugins) -> str:
    *parents, key = error["loc"] or ("",)
    match error["type"]:
        case "extra_forbidden" if error["loc"] == ("sweep",):
            return (
                "is for sweeps: `rayal sweep`, `rayal submit sweep` and `rayal plan`; in Python"
                " rayal.load_sweep"
            )
        case "extra_forbidden":
            known = _model_at(parents, node, model, plugins).model_fields
            return f"there is no such key; {suggest(str(key), known)}"
        case "missing" if isinstance(key, str):
            found = held(_model_at(parents, node, model, plugins).model_fields[key])
            if not isinstance(found, Part):
                return "is required"
            return f"is required; choose one of: {', '.join(names(found.kind))}"
        case "value_error":
            return wanted(error)
        case "contradiction":
            return error["msg"]
    value = json.dumps(error["input"], ensure_ascii=False, default=repr)
    return f"{wanted(error)}, got {cut(hidden(value))}"


def _model_at(
    keys: Sequence[Key], node: Node, model: type[BaseModel], plugins: Plugins
) -> type[BaseModel]:
    """The model that the mapping under these keys is read with."""
    found: Part | type[BaseModel] | None = None
    usual: object = None
    for key in keys:
        node = node.at([key])
        if isinstance(key, str):
            found, usual = held(model.model_fields[key]), model.model_fields[key].default
        if isinstance(found, Part) and isinstance(node.value, dict):
            named = node.value.get("name")
            model = find(found.kind, str(named.value if named else usual), plugins)
        elif isinstance(found, type):
            model = found
    return model


def held(field: FieldInfo) -> Part | type[BaseModel] | None:
    """The kind of part, or the model, that a field or its items hold, if any."""
    waiting: list[Any] = [*field.metadata, field.annotation]
    for item in waiting:  # grows
        if isinstance(item, Part) or (isinstance(item, type) and issubclass(item, BaseModel)):
            return item
        waiting.extend(get_args(item)[::-1])  # what annotates a type, before the type
    return None
