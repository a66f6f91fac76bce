"""What of a configuration differs from the defaults, for people to read."""

from typing import Any

from pydantic import BaseModel

from rayal.parts import Component
from rayal.storage.folder import Json


def brief(held: BaseModel) -> Json:
    """The fields that differ from their defaults, as YAML and Python may give them again; a part
    of defaults alone is its name."""
    values = {key: getattr(held, key) for key in type(held).model_fields}
    found: Json = {"name": held.part_name()} if isinstance(held, Component) else {}
    for key, field in type(held).model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data=values)
        plain = _plain(values[key])
        if values[key] == default or plain == default:  # the default of a part is a name
            continue
        if not (field.validate_default and values[key] == _blank(type(held), key)):
            found[key] = plain
    return found


def _blank(kind: type[BaseModel], key: str) -> Any:
    """What a default becomes when it is validated, such as a path; None where nothing tells."""
    required = any(field.is_required() for field in kind.model_fields.values())
    return None if required else getattr(kind(), key)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        fields = brief(value)
        return fields["name"] if len(fields) == 1 else fields
    if isinstance(value, BaseModel):
        return brief(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
