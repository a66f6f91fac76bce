"""One part, described: what a terminal, a page and a program show of it."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from pydantic import ValidationError

from rayal.experiment.described import docstring
from rayal.experiment.described.facts import Fact, facts
from rayal.experiment.described.options import Option, options
from rayal.experiment.experiment import Experiment
from rayal.labeling.exchange.base import Format
from rayal.labeling.oracles.people import People
from rayal.parts import Component, Part, find, written_out
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage import yaml_text
from rayal.storage.folder import Json

NARROWEST, WIDEST = 60, 100
"""Columns of a terminal that are used."""


@dataclass(frozen=True)
class Described:
    """A part for people; `str` of it is what a terminal shows."""

    kind: str
    name: str
    summary: str
    """One sentence: what the method is."""
    does: str
    """One sentence or formula: what this class does."""
    tasks: tuple[str, ...]
    """Tasks it is for; empty where that is no question."""
    options: tuple[Option, ...]
    facts: tuple[Fact, ...]
    """What it declares of itself: needs, signals, passes; nothing measured."""
    notes: tuple[str, ...]
    """Paragraphs, Markdown."""
    differences: tuple[str, ...]
    """From its source, paragraphs."""
    sources: tuple[str, ...]
    """Papers and code that it is from."""
    example: str
    """YAML of an experiment file that uses it."""

    def to_dict(self) -> Json:
        """For JSON."""
        return asdict(self) | {
            "options": [option._asdict() for option in self.options],
            "facts": {fact.label: fact.text for fact in self.facts},
        }

    def __str__(self) -> str:
        columns = shutil.get_terminal_size((WIDEST, 24)).columns
        return "\n".join(self.lines(min(WIDEST, max(NARROWEST, columns))))

    def lines(self, width: int = WIDEST) -> Iterator[str]:
        """For a terminal, at most so wide but for tables and code."""
        yield from _wrapped(f"{self.name}: {self.summary}", width)
        yield from _block(None, [self.does] if self.does != self.summary else [], width)
        said = [Fact("tasks", ", ".join(self.tasks))] if self.tasks else []
        yield from _listed("Facts", [*said, *self.facts], width)
        yield from _options("Options", [x for x in self.options if not x.shared], width)
        shared = [option for option in self.options if option.shared]
        yield from _options(f"Options of all {self.kind}", shared, width)
        yield from _block("Notes", self.notes, width)
        yield from _block("Differences", self.differences, width)
        yield from _block("Source", self.sources, width)
        yield from ("", "Example", *textwrap.indent(self.example, "  ").splitlines())


def describe(kind: str, name: str, plugins: Plugins = NO_PLUGINS) -> Described:
    """The part of this kind and name, or of a module of plugins. Raises UsageError as `find`."""
    part = find(kind, name, plugins)
    key, contract = _place(kind)
    usual = _usual(part)
    module, own = _docstrings(part)
    told = [*docstring.sections(own), *docstring.sections(module)]
    text = {
        role: tuple(dict.fromkeys(each.text for each in told if each.role == role))
        for role in ("text", "source", "differences")
    }
    return Described(
        kind=kind,
        name=part.part_name(),
        summary=docstring.first(module or own),
        does=docstring.first(own),
        tasks=tuple(sorted(getattr(part, "tasks", ()))),
        options=tuple(options(part, usual, contract)),
        facts=tuple(facts(usual)) if usual is not None else (),
        notes=text["text"],
        differences=text["differences"],
        sources=text["source"] or tuple(docstring.cited(module)),
        example=_example(key, part, usual),
    )


def _docstrings(part: type[Component]) -> tuple[str | None, str | None]:
    """Of its module and of its class, none of which is inherited."""
    module = sys.modules[part.__module__].__doc__
    return module, part.__dict__.get("__doc__")


def _usual(part: type[Component]) -> Component | None:
    """One with its defaults, and the first of the `examples` of what has none."""
    given = {
        name: field.examples[0]
        for name, field in part.model_fields.items()
        if field.is_required() and field.examples
    }
    try:
        return part.model_validate(given)
    except (ValidationError, ValueError):  # a user's own, which gives no examples
        return None


def _place(kind: str) -> tuple[str, type[Component]]:
    """The first field that holds a part of this kind, and the contract of all; of an experiment, or
    of the oracle that has a format."""
    owner = People if kind == Format.kind else Experiment
    found = next(
        (name, field.annotation)
        for name, field in owner.model_fields.items()
        if any(isinstance(mark, Part) and mark.kind == kind for mark in field.metadata)
    )
    return cast(tuple[str, type[Component]], found)


def _example(key: str, part: type[Component], usual: Component | None) -> str:
    """The part with the options that are its own, or that it needs."""
    written = {} if usual is None else written_out(usual)
    own = part.__dict__.get("__annotations__", {})
    shown = {
        name: written[name]
        for name in part.model_fields
        if (name in own or part.model_fields[name].is_required())
        and written.get(name) is not None
        and part.model_fields[name].default is not None
    }
    value: Any = {"name": part.part_name(), **shown} if shown else part.part_name()
    if issubclass(part, Format):
        key, value = "oracle", {"name": People.part_name(), key: value}
    return yaml_text.dump({key: value})


def _options(title: str, some: Iterable[Option], width: int) -> Iterator[str]:
    for number, option in enumerate(some):
        if not number:
            yield from ("", title)
        head = f"{option.name} = {option.shown_default()}"
        yield from _wrapped(f"{head}   ({option.type})", width, "  ", "    ")
        yield from _wrapped(option.meaning, width, "      ")


def _listed(title: str, pairs: list[Fact], width: int) -> Iterator[str]:
    if pairs:
        yield from ("", title)
    column = max((len(label) for label, _ in pairs), default=0)
    for label, text in pairs:
        yield from _wrapped(text, width, f"  {label:{column}}  ", " " * (column + 4))


def _block(title: str | None, paragraphs: Iterable[str], width: int) -> Iterator[str]:
    paragraphs, pad = list(paragraphs), "  " * (title is not None)
    if paragraphs and title:
        yield from ("", title)
    for number, paragraph in enumerate(paragraphs):
        if number or not title:
            yield ""
        for block in paragraph.split("\n\n"):
            if block is not paragraph and block.startswith((" ", "|")):
                yield ""
            yield from _laid_out(block, width, pad)


def _laid_out(block: str, width: int, pad: str) -> Iterator[str]:
    if block.startswith((" ", "|")):
        yield from (f"{pad}{line}" for line in block.splitlines())
        return
    for line in block.splitlines():
        yield from _wrapped(line, width, pad, pad + "  " * line.startswith("- "))


def _wrapped(text: str, width: int, first: str = "", later: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )
