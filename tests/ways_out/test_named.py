"""What messages tell people to set, add or install is there, under that name."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

import click
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rayal.cli import app
from rayal.data.images import Decoding
from rayal.experiment.compute import Compute
from rayal.experiment.sweep.settings import Sweep
from rayal.labeling.budget import Budget
from rayal.parts import Part, find, names
from rayal.workflows.score.settings import PoolCompute
from tests.ways_out.test_complete import TESTS, messages, said_by_modules

KINDS = {
    "dataset": "datasets",
    "model": "models",
    "scheme": "schemes",
    "strategy": "strategies",
    "oracle": "oracles",
    "tracking": "trackers",
}
KEY = re.compile(rf"(?<![\w./])((?:{'|'.join(KINDS)}|budget|compute|sweep|decoding)(?:\.[a-z_]+)+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
PACKAGE = re.compile(r"pip install '?([\w-]+(?:\[\w+\])?)")
FOREIGN = {"--experiment-id", "--head", "--memory", "--port", "--shm-size"}
"""Options of MLflow's, Ray's and Docker's own commands."""


def named(pattern: re.Pattern[str]) -> list[str]:
    """Everything of this kind in a message that names a step."""
    return sorted({name for _, text in messages() for name in pattern.findall(text)})


def settings(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings in an annotation such as `Augment | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from settings(part)


def held(field: FieldInfo) -> list[type[BaseModel]]:
    """What a field may hold: settings, or any part of a kind."""
    kinds = [mark.kind for mark in field.metadata if isinstance(mark, Part)]
    parts = [find(kind, name) for kind in kinds for name in names(kind)]
    return [*parts, *settings(field.annotation)]


def homes(root: str) -> list[type[BaseModel]]:
    """What the first word of a key may stand for."""
    if root in KINDS:
        return [find(KINDS[root], name) for name in names(KINDS[root])]
    return {
        "budget": [Budget],
        "compute": [Compute, PoolCompute],
        "decoding": [Decoding],
        "sweep": [Sweep],
    }[root]


def can_be_set(key: str) -> bool:
    """Whether something has a field for every word of it."""
    root, *rest = key.split(".")
    found = homes(root)
    for name in rest:
        fields = [each.model_fields[name] for each in found if name in each.model_fields]
        if not fields:
            return False
        found = [each for field in fields for each in held(field)]
    return True


def test_keys_can_be_set() -> None:
    """`--set KEY=...` would be refused."""
    keys = named(KEY)

    assert len(keys) > 20
    assert [] == [key for key in keys if not can_be_set(key)]


def options(command: click.Command) -> Iterator[str]:
    """All options of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


def test_options_are_those_of_the_command() -> None:
    """Whoever adds one would be told that there is none."""
    known = {*options(typer.main.get_command(app))}

    assert len(known) > 20
    assert [] == [each for each in named(OPTION) if each not in known | FOREIGN]


def test_commands_have_the_options_they_are_named_with() -> None:
    """`rayal logs JOB --follow`, as a message writes it, would be refused itself."""
    top: Any = typer.main.get_command(app)
    said = "\n".join(text for _, text in said_by_modules())
    found = re.findall(r"`rayal ([a-z]+)([^`]*)`", said)

    assert {"logs", "run", "score", "status", "stop", "submit"} <= {name for name, _ in found}
    for name, rest in found:
        assert {*OPTION.findall(rest)} <= {*options(top.commands[name])}, f"{name}{rest}"


def test_packages_are_those_of_the_extras() -> None:
    """What is installed by name would be another package than the tests run with; and rayal itself
    is on no index."""
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {
        need.split(">")[0]
        for extra in ("cluster", "sweep", "s3", "cryo", "umap")
        for need in extras[extra]
    }

    assert {*named(PACKAGE)} == needed | {"bokeh"}  # which comes with rayal
