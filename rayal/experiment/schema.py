"""The JSON Schema of experiment files, for editors: what a file may say, field by field.

It knows types, ranges, names and what is required; what only several values together are, such as
a contradiction of two parts, `rayal plan` says. A file that `extends` another may leave out
whatever that one says: there fields of a part may stand without its name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from rayal.experiment.experiment import Experiment
from rayal.experiment.fine_tune import FineTune
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.space import ARGUMENTS, OPTIONS
from rayal.experiment.sweep.trials import FOREIGN
from rayal.settings import LARGEST, LARGEST_WHOLE
from rayal.storage.folder import Json

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXTENDS = {
    "type": "string",
    "minLength": 1,
    "description": "File that this one stands on, relative to it: of a key here, this file's value"
    " counts.",
}
NUMBERS = ("integer", "number")
PREFIX = "#/$defs/"
WHOLE = ("required", "anyOf")
"""What holds for settings that stand on no others."""
SAID = ("description", "default")
"""What is said of a field, and is no condition."""


def schema(*, sweep: bool = False) -> Json:
    """The JSON Schema (draft 2020-12) of experiment files; `sweep`: of those with a block `sweep:`.

    Parts of plugins have a dotted name, and any fields.
    """
    model = SweptExperiment if sweep else Experiment
    generated = model.model_json_schema(schema_generator=_Generator)
    definitions, fields = generated["$defs"], generated["properties"]
    whole = {
        name: {word: each.pop(word) for word in WHOLE if word in each}
        for name, each in definitions.items()
    }
    below = {key: _below(field, definitions) for key, field in fields.items()}
    inner = definitions[FineTune.__name__]
    inner["properties"] = {k: _below(f, definitions) for k, f in inner["properties"].items()}
    if sweep:
        varied = {key: field for key, field in below.items() if key not in (*FOREIGN, "sweep")}
        definitions["Sweep"]["properties"]["space"] |= _Space(definitions).of(varied)
    alone = {key: _alone(model, key, field, whole) for key, field in fields.items()}
    return {
        "$schema": DIALECT,
        "title": "A sweep of rayal" if sweep else "An experiment of rayal",
        "description": generated["description"],
        "type": "object",
        "properties": {"extends": EXTENDS, **below},
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "properties": {key: each for key, each in alone.items() if each != below[key]},
            "required": generated["required"],
        },
        "$defs": definitions,
    }


class _Generator(GenerateJsonSchema):
    """Without titles that repeat names, with the limits that all numbers of settings have."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def int_schema(self, schema: core_schema.IntSchema) -> Json:
        return _limited(super().int_schema(schema), int(LARGEST_WHOLE))

    def float_schema(self, schema: core_schema.FloatSchema) -> Json:
        return _limited(super().float_schema(schema), LARGEST)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        """A default of null may be written, whatever becomes of it."""
        made: Json = super().default_schema(schema)
        null = {"type": "null"}
        if made.get("default", ...) is None and null not in made.get("anyOf", []):
            del made["default"]
            return {"anyOf": [made, null], "default": None}
        return made


def _limited(number: Json, most: float) -> Json:
    low = {} if "exclusiveMinimum" in number else {"minimum": -most}
    high = {} if "exclusiveMaximum" in number else {"maximum": most}
    return {**low, **high, **number}


def _is_part(option: Mapping[str, Any]) -> bool:
    return "$ref" in option and "name" in option.get("required", ())


def _below(field: Json, definitions: Json) -> Json:
    """What stands in a file over another one: the fields of a part, some of them, without its name;
    they may be those of any part of the kind."""
    options = field.get("anyOf", [])
    parts = [option for option in options if _is_part(option)]
    if not parts:
        return field
    merged = _any_of(definitions[part["$ref"].removeprefix(PREFIX)]["properties"] for part in parts)
    del merged["name"]
    named = [{**part, "required": ["name"]} if part in parts else part for part in options]
    nameless = {"type": "object", "properties": merged, "additionalProperties": False}
    return {**field, "anyOf": [*named, nameless]}


def _any_of(mappings: Iterable[Json]) -> Json:
    """Key -> what it may be in any of these mappings, each once."""
    found: dict[str, list[Json]] = {}
    for mapping in mappings:
        for key, each in mapping.items():
            plain = {word: item for word, item in each.items() if word != "default"}
            if plain not in found.setdefault(key, []):
                found[key].append(plain)
    return {key: each[0] if len(each) == 1 else {"anyOf": each} for key, each in found.items()}


def _alone(model: type[Experiment], key: str, field: Json, whole: Mapping[str, Json]) -> Json:
    """What stands in a file of its own: whole, but for the name of a part that there is anyway."""
    default = model.model_fields[key].default
    if "$ref" in field:
        return {**field, **whole[field["$ref"].removeprefix(PREFIX)]}
    if not isinstance(default, str) or not any(map(_is_part, field.get("anyOf", []))):
        return field
    names = field["anyOf"][0]["enum"]
    parts = [option for option in field["anyOf"] if _is_part(option)]
    usual = dict(zip(names, parts, strict=True))[default]
    return {**field, "anyOf": [*field["anyOf"], {**usual, "required": usual["required"][1:]}]}


class _Space:
    """What is varied: wherever a field has a value, it may have a function of Ray Tune."""

    def __init__(self, definitions: Json) -> None:
        self.definitions = definitions
        definitions["Draw"] = _one_of(
            {name: _arguments(*ARGUMENTS[name]) for name in ARGUMENTS if name not in OPTIONS}
        )

    def of(self, fields: Json) -> Json:
        """The space of these fields."""
        return {
            "properties": {key: self._field(key, field) for key, field in fields.items()},
            "additionalProperties": False,
        }

    def _field(self, key: str, field: Json) -> Json:
        """A reference to the field as it may be varied: many parts have the same ones."""
        said = {word: item for word, item in field.items() if word == "description"}
        value = self._value({word: item for word, item in field.items() if word not in SAID})
        if "anyOf" in value:
            value = self._named(f"value_of_{key}", value)
        options = {"type": "array", "minItems": 1, "items": value}
        functions = [_one_of(dict.fromkeys(OPTIONS, options))]
        if any(option.get("type") in NUMBERS for option in (field, *field.get("anyOf", []))):
            functions.append({"$ref": f"{PREFIX}Draw"})
        return self._named(f"varied_{key}", {"anyOf": [value, *functions], **said})

    def _named(self, name: str, made: Json) -> Json:
        """A reference to a definition, the same for equal ones."""
        while self.definitions.setdefault(name, made) != made:
            name += "_"
        return {"$ref": f"{PREFIX}{name}"}

    def _value(self, value: Json) -> Json:
        if "$ref" in value:
            return {**value, "$ref": self._definition(value["$ref"].removeprefix(PREFIX))}
        if "anyOf" in value:
            return {**value, "anyOf": [self._value(option) for option in value["anyOf"]]}
        if value.get("additionalProperties") is False:
            return {**value, **self.of(value["properties"])}
        return value

    def _definition(self, name: str) -> str:
        """A definition whose fields may be functions; its name is no function's business."""
        varied = f"Varied{name}"
        if varied not in self.definitions:
            original = self.definitions[name]
            self.definitions[varied] = made = {**original}
            own = {key: each for key, each in original["properties"].items() if key == "name"}
            rest = {key: each for key, each in original["properties"].items() if key != "name"}
            made["properties"] = own | self.of(rest)["properties"]
        return f"{PREFIX}{varied}"


def _one_of(functions: Json) -> Json:
    """A mapping of one of these functions to its arguments."""
    return {
        "type": "object",
        "properties": functions,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _arguments(least: int, most: int) -> Json:
    """So many numbers; one alone needs no list."""
    listed: Json = {
        "type": "array",
        "items": {"type": "number"},
        "minItems": least,
        "maxItems": most,
    }
    return {"anyOf": [listed, {"type": "number"}]} if least <= 1 <= most else listed
