"""What a part says of itself: its docstrings, its fields, what it reads and needs."""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from inspect import cleandoc
from typing import Any

from fields import Row, rows

from rayal import parts

QUOTED = re.compile(r'"([^"]{20,})",? \(?([^();]*?\d{4})\b')
NAMED = re.compile(r"\b([A-Z][\w-]+) \(([A-Z][A-Za-z]+ \d{4})\)")
"""A paper by its title or its name, with venue and year."""


@dataclass(frozen=True)
class Facts:
    """A part of rayal's own, by kind and name."""

    kind: str
    name: str

    @cached_property
    def part(self) -> Any:
        """Its class."""
        return parts.find(self.kind, self.name)

    @cached_property
    def _module(self) -> list[str]:
        """The paragraphs of its file's docstring."""
        return cleandoc(import_module(self.part.__module__).__doc__ or "").split("\n\n")

    @property
    def title(self) -> str:
        """What it is, in a line."""
        return " ".join(self._module[0].split())

    @property
    def what(self) -> str:
        """What it computes, with range and unit."""
        return cleandoc(self.part.__doc__ or "")

    @property
    def background(self) -> str:
        """Where it comes from, and every difference from there."""
        return "\n\n".join(self._module[1:])

    @property
    def papers(self) -> list[tuple[str, str]]:
        """Title and venue with year of what its file's docstring quotes, the first one first."""
        text = " ".join(" ".join(self._module).split())
        return [*dict.fromkeys([*QUOTED.findall(text), *NAMED.findall(text)])]

    @property
    def options(self) -> list[Row]:
        """Its own fields."""
        return [*rows(self.part, without=self._shared())]

    @property
    def shared_options(self) -> list[Row]:
        """The fields of its contract, which others have too."""
        own = frozenset(self.part.model_fields) - self._shared()
        return [*rows(self.part, without=own)]

    def _shared(self) -> frozenset[str]:
        return frozenset(
            name
            for contract in self.part.__mro__
            if contract.__module__.endswith(".base")
            for name in contract.__dict__.get("__annotations__", ())
        )


def all_of(kind: str) -> list[Facts]:
    """Every part of a kind, by name."""
    return [Facts(kind, name) for name in parts.names(kind)]
