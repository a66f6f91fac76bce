"""Every field of a configuration says what it means: help, schema and pages are made of that."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest

import rayal
from rayal.parts import PACKAGES, find, names
from rayal.settings import Settings


def configurations() -> list[type[Settings]]:
    """All classes of settings of rayal: parts, what parts hold, and what commands take."""
    root = Path(rayal.__file__).parent
    for file in root.rglob("*.py"):
        if "Settings" in file.read_text():
            importlib.import_module(
                ".".join(("rayal", *file.relative_to(root).with_suffix("").parts))
            )
    for kind in PACKAGES:
        for name in names(kind):
            find(kind, name)
    own = {each for each in below(Settings) if each.__module__.startswith("rayal.")}
    ours = {each for each in own if not each.__module__.startswith("rayal.testing")}
    return sorted(ours, key=lambda each: (each.__module__, each.__qualname__))


def below(model: type[Settings]) -> Iterator[type[Settings]]:
    for each in model.__subclasses__():
        yield each
        yield from below(each)


@cache
def docstrings(owner: type[Settings]) -> dict[str, str]:
    """What is written below each field that a class declares itself."""
    module = ast.parse(Path(inspect.getfile(owner)).read_text())
    (tree,) = (
        node
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and node.name == owner.__name__
    )
    return {
        ast.unparse(field.target): inspect.cleandoc(str(text.value.value)).rstrip()
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def written(model: type[Settings], field: str) -> str | None:
    """The docstring below a field, in the class nearest to `model` that declares it."""
    owner = next(
        each for each in model.__mro__ if field in each.__dict__.get("__annotations__", {})
    )
    return docstrings(owner).get(field)


def takes_null(annotation: Any) -> bool:
    return annotation is NoneType or any(map(takes_null, get_args(annotation)))


ALL = configurations()


def test_all_parts_are_there() -> None:
    """A class that is not walked is not looked at below."""
    parts = {find(kind, name) for kind in PACKAGES for name in names(kind)}

    assert parts <= {*ALL}
    assert {"Experiment", "Sweep", "Budget", "Compute", "Augment", "PoolScoring", "Request"} <= {
        each.__name__ for each in ALL
    }


@pytest.mark.parametrize("model", ALL, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_fields_say_what_they_mean(model: type[Settings]) -> None:
    """A reader of the help, the schema or the pages would have a name alone; what null stands for
    is nowhere else; and a text of another field would be taken for this one's."""
    for field, info in model.model_fields.items():
        text = (info.description or "").rstrip()

        assert written(model, field) == text, field
        assert len(text.split()) >= 3, field
        assert text[0] in "`0123456789." or text[0].isupper(), field
        assert text.endswith("."), field
        assert "null" in text.lower() or not takes_null(info.annotation), field
