"""Parts are found by file name: `find("strategies", "cod")` is in `rayal/strategies/cod.py`.

A part is a frozen pydantic model, so a part *is* its configuration: what the YAML file says, what
the run folder records and what does the work are one object.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import (
    Any,
    NamedTuple,
)

from pydantic import (
    BaseModel,
    ValidationInfo,
    model_serializer,
)
from pydantic import GetCoreSchemaHandler as SchemaHandler
from pydantic import GetJsonSchemaHandler as JsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from rayal.errors import UsageError, quoted
from rayal.location import Written
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.settings import Settings

PACKAGES = {
    "datasets": "rayal.data.datasets",
    "formats": "rayal.labeling.exchange",
    "models": "rayal.models.architectures",
    "oracles": "rayal.labeling.oracles",
    "schemes": "rayal.training.schemes",
    "strategies": "rayal.strategies",
    "tasks": "rayal.data.tasks",
    "trackers": "rayal.runs.trackers",
}
"""Kind of part -> the package that holds its files, one part each."""

MAIN = "__main__"
"""The module of what a notebook or script defines itself: as many parts as it likes."""

DOTTED = r"^\w+(\.\w+)+$"
"""The name of a user's own part, `package.module`."""


class Component(Settings):
    """A part of an experiment. Its fields are its hyperparameters."""

    @classmethod
    def part_name(cls) -> str:
        """`cod` for a part of rayal, `my_pkg.my_module` for a user's own, `__main__.Mine` for a
        class of a notebook or script."""
        module = cls.__module__
        if module == MAIN:
            return f"{MAIN}.{cls.__qualname__}"
        return module if cls.is_foreign() else module.rsplit(".", 1)[-1]

    @classmethod
    def is_foreign(cls) -> bool:
        """Whether it is a user's own part, which may break the contract of its kind."""
        return not cls.__module__.startswith("rayal.")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: JsonSchemaHandler
    ) -> JsonSchemaValue:
        """Its fields, and its name among them."""
        described = handler.resolve_ref_schema(handler(schema))
        name = {"const": cls.part_name(), "description": "Which part it is."}
        described["properties"] = {"name": name, **described.get("properties", {})}
        return described

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        return {"name": self.part_name(), **handler(self)}


class Contradiction(NamedTuple):
    """What cannot work, whatever the data: parts say it of themselves and the choices they get."""

    key: tuple[str | int, ...]
    """The field of the experiment to change, by where it stands: `("budget", "initial")`."""
    problem: str
    """What is wrong with it and the way out."""


@dataclass(frozen=True)
class Part:
    """Marks a field that holds a part: `strategy: Annotated[Strategy, Part("strategies")]`.

    The field takes an instance, a bare name or {name: ..., field: value}, and is saved as the last.
    Names of plugins are taken where the validation's context are `Plugins` with their package.
    """

    kind: str

    def __get_pydantic_core_schema__(
        self, contract: type[Component], handler: SchemaHandler
    ) -> CoreSchema:
        def built(value: Any, info: ValidationInfo) -> Any:
            return build(self.kind, value, info.context or NO_PLUGINS)

        return core_schema.with_info_before_validator_function(
            built,
            handler(contract),
            # "any": with the fields of the part itself, not only those of its contract
            serialization=core_schema.simple_ser_schema("any"),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: JsonSchemaHandler
    ) -> JsonSchemaValue:
        """A name, or a mapping with the name and the fields of that part; the names of plugins have
        a dot, and their fields are their own business."""
        known = {name: find(self.kind, name) for name in names(self.kind)}
        foreign = {"type": "string", "pattern": DOTTED}
        return {
            "anyOf": [
                {"enum": list(known)},
                foreign,
                *(
                    handler(_referred(part)) | {"required": ["name", *needed(part)]}
                    for part in known.values()
                ),
                {"type": "object", "properties": {"name": foreign}, "required": ["name"]},
            ]
        }


def with_usual_names(model: type[BaseModel], given: Any) -> Any:
    """Fields of a model, where `scheme={"epochs": 5}` is of the scheme that goes without saying."""
    if not isinstance(given, Mapping):
        return given
    named = {key: f.default for key, f in model.model_fields.items() if isinstance(f.default, str)}
    return {
        key: {"name": named[key], **item} if key in named and isinstance(item, dict) else item
        for key, item in given.items()
    }


def written_out(value: Any) -> Any:
    """A value of a configuration as a file can say it, with every field, also those that a dump
    leaves out where they have their defaults."""
    if isinstance(value, BaseModel):
        name = {"name": value.part_name()} if isinstance(value, Component) else {}
        return name | {key: written_out(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, dict):
        return {key: written_out(item) for key, item in value.items()}
    if isinstance(value, Written):
        return str(value)
    return [written_out(item) for item in value] if isinstance(value, list | tuple) else value


def _referred(part: type[Component]) -> CoreSchema:
    """Its schema under a name, so that a JSON Schema holds it once, and refers to it."""
    ref = f"{part.__module__}.{part.__qualname__}:{id(part)}"
    named: Any = {"ref": ref, **part.__pydantic_core_schema__}
    return core_schema.chain_schema([named])  # a handler resolves only what is inside of a schema


def needed(model: type[BaseModel]) -> list[str]:
    """The fields without a default."""
    return [name for name, field in model.model_fields.items() if field.is_required()]


def names(kind: str) -> list[str]:
    """The parts of `kind` that rayal has, sorted; `base.py` holds the contract of its folder."""
    return [*_files(kind)]


@cache
def _files(kind: str) -> tuple[str, ...]:
    """Read once: an experiment looks up a dozen parts, and a sweep has hundreds of experiments."""
    package = importlib.import_module(PACKAGES[kind])
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in found if name != "base" and name[0] != "_"))


def names_of_kind(kind: str) -> list[str]:
    """As `names`. Raises UsageError where there is no such kind."""
    if kind not in PACKAGES:
        raise UsageError(f"there is no kind of parts {kind!r}; {suggest(kind, PACKAGES)}")
    return names(kind)


def find(kind: str, name: str, plugins: Plugins = NO_PLUGINS) -> type[Any]:
    """The part class in the file `<name>.py` of its kind, in the module `pkg.module` of plugins, or
    defined last as `__main__.Mine` by the notebook or script that is this process.

    Raises UsageError for a name that is not there, with the nearest one that is.
    """
    if name.startswith(f"{MAIN}."):
        return _checked(_of_main(name), kind, name)
    if kind == "datasets" and "/" in name and "://" not in name:
        raise UsageError(
            f"{quoted(name)} is a path; write {{name: image_folder, root: {name}}} for images in"
            " folders, or the name of another dataset"
        )
    if "." in name:
        return _only_component(plugins.module(name), kind)
    known = names(kind)
    if name not in known:
        raise UsageError(f"there is no {name!r} in {kind}; {suggest(name, known)}")
    return _only_component(importlib.import_module(f"{PACKAGES[kind]}.{name}"), kind)


def suggest(word: str, known: Iterable[str]) -> str:
    """The way out after a word that is not among the known ones."""
    known = list(known)
    same = [each for each in known if each.strip().casefold() == word.strip().casefold()]
    if near := same or get_close_matches(word, known, n=1):
        return f"did you mean {near[0]!r}?"
    return f"choose one of: {', '.join(known)}" if known else "it takes none"


def build(kind: str, value: Any, plugins: Plugins = NO_PLUGINS) -> Any:
    """A part from its configuration: an instance, a bare name, or {name: ..., field: value}."""
    if isinstance(value, Component):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise UsageError(_no_part(kind, value))
    fields = {key: item for key, item in value.items() if key != "name"}
    return find(kind, value["name"], plugins).model_validate(fields, context=plugins)


def _no_part(kind: str, value: Any) -> str:
    """What is wrong with a value that is neither a part nor the configuration of one."""
    if isinstance(value, type) and issubclass(value, Component):
        return f"{value.__name__} is a class; give an instance of it: {value.__name__}()"
    torch = sys.modules.get("torch")  # who has a module has imported it
    if torch and kind == "models" and isinstance(value, torch.nn.Module):
        return (
            f"{type(value).__name__} is a network, and a run builds its own for every training;"
            " return it from network() of a class that is a rayal.Model, and give Mine()"
        )
    return f"expected a name or {{name: ..., ...}} from {kind}, got {quoted(value)}"


def _only_component(module: ModuleType, kind: str) -> type[Component]:
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, Component)
        and item.__module__ == module.__name__
        and not item.__name__.startswith("_")
    ]
    if len(found) != 1:
        described = ", ".join(item.__name__ for item in found) or "none"
        raise UsageError(f"{module.__name__} must hold one part for {kind}, it holds: {described}")
    return _checked(found[0], kind, module.__name__)


def _of_main(name: str) -> type[Component]:
    part = vars(sys.modules[MAIN]).get(name.removeprefix(f"{MAIN}."))
    if isinstance(part, type) and issubclass(part, Component) and part.__module__ == MAIN:
        return part
    raise UsageError(
        f"{name!r} is a class of a notebook or script, and nothing here defines it; run its"
        " definition first, or put it into a file of a package of yours, name it package.file, and"
        " allow that: --plugins package (in Python: plugins=['package'])"
    )


def bring(kinds: Iterable[type[Component]]) -> None:
    """Makes classes of another process's notebook or script, which have come here with its work,
    those of this one, where `find` looks for them."""
    for kind in kinds:
        setattr(sys.modules[MAIN], kind.__name__, kind)


def _checked(part: type[Component], kind: str, name: str) -> type[Component]:
    """The part of this name, if it is one for `kind` and whole."""
    if (other := getattr(part, "kind", kind)) != kind:
        raise UsageError(f"{name} is no part for {kind}: {part.__name__} is for {other}")
    if lacking := sorted(part.__abstractmethods__):
        raise UsageError(
            f"{name} is not whole: {part.__name__} lacks {', '.join(lacking)}, which"
            f" every part for {kind} has; see the base class"
        )
    return part
