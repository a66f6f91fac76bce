"""What messages name is there: the command, the option, the setting that a step is done with."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from rayal.cli import app
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.parts import PACKAGES, find, names
from rayal.workflows.score.settings import PoolScoring
from tests.ways_out.test_complete import SOURCE, texts

FOREIGN = {"--head", "--port", "--shm-size", "--experiment-id", "--backend-store-uri"}
"""Options of Ray, Docker and MLflow."""


@cache
def messages() -> tuple[str, ...]:
    """Every text of the source that is more than a word."""
    files = sorted(SOURCE.rglob("*.py"))
    found = [text for file in files for text in texts(ast.parse(file.read_text()))]
    return tuple(text for text in found if " " in text)


@cache
def commands() -> dict[str, set[str]]:
    """`submit run` -> its options."""

    def below(group: Any, at: str) -> Iterator[tuple[str, set[str]]]:
        for name, command in group.commands.items():
            options = {word for each in command.params for word in each.opts}
            yield f"{at}{name}", options | {"--help"}
            if hasattr(command, "commands"):
                yield from below(command, f"{at}{name} ")

    top = typer.main.get_command(app)
    return dict(below(top, "")) | {"": {word for each in top.params for word in each.opts}}


def test_commands_that_messages_name_are_there() -> None:
    """A user would type what the message says, and meet the next one."""
    named = {
        (text, words[1], *re.findall(r" (--[\w-]+)", words[2]))
        for text in messages()
        for words in re.finditer(r"`rayal ([a-z]+(?: sweep| run| score)?)([^`]*)`", text)
    }

    assert 5 < len(named)
    for text, command, *options in named:
        own = commands().get(command) or commands()[command.split()[0]]
        below = [each for name, each in commands().items() if name.startswith(f"{command} ")]
        assert {*options} <= own.union(*below), text


def test_options_that_messages_name_are_there() -> None:
    """The same of an option by itself."""
    known = set[str]().union(*commands().values()) | FOREIGN
    named = {
        option: text for text in messages() for option in re.findall(r"(?<![\w-])--[a-z-]+\b", text)
    }

    assert 10 < len(named)
    assert {} == {option: text for option, text in named.items() if option not in known}


def fields(model: type[BaseModel]) -> Iterator[str]:
    """`augment`, `augment.window`, ...: of a class and of the models in it."""
    for name, field in model.model_fields.items():
        yield name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from (f"{name}.{inner}" for inner in fields(kind))


@cache
def settings() -> frozenset[str]:
    """`scheme.lr`, `compute.batch_bytes`, ...: whatever a file or --set may name."""
    groups = {"datasets": "dataset", "trackers": "tracking"}
    found = {*fields(SweptExperiment), *fields(PoolScoring), "sweep.space.scheme"}
    for kind in PACKAGES:
        group = groups.get(kind, kind.replace("ies", "y ").removesuffix("s").strip())
        for name in names(kind):
            found |= {f"{group}.{field}" for field in fields(find(kind, name))}
    return frozenset(found)


@pytest.mark.parametrize(
    "group",
    ["compute", "scheme", "budget", "sweep", "dataset", "decoding", "tracking", "model", "oracle"],
)
def test_settings_that_messages_name_are_there(group: str) -> None:
    """`--set augment.policy=null` would be answered by: there is no such key."""
    named = {
        setting: text
        for text in messages()
        for setting in re.findall(rf"(?<![\w./]){group}\.[a-z_]+(?:\.[a-z_]+)*(?![\w(/])", text)
    }

    assert {} == {setting: text for setting, text in named.items() if setting not in settings()}
