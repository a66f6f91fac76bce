"""What a page is made of: sections, and in them text, tables, figures, pictures and listings.

All of it is plain text and numbers; only `markup.py` knows of HTML, and escapes whatever it gets.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from rayal.report import table as plain
from rayal.storage.folder import Json

NUMBERS = re.compile(r"not reached|(at most )?[–+<-]? ?[\d.,]*( ±.*| %| of \d+)?")
"""Text of a cell that is a number, or says that there is none."""
NOTHING = "–"
"""In a cell where there is no value."""


class Number(NamedTuple):
    """A number as it is shown, and as the run folder has it."""

    value: float
    text: str


Cell = str | Number


def number(value: float | None, form: str = ".4g", scale: float = 1) -> Cell:
    """A cell; a dash where there is no value, or none that is finite."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return Number(value, format(value * scale, form))


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str
    tone: Literal["", "lead", "note", "warning"] = ""


@dataclass(frozen=True)
class Table:
    """Rows below a header; the first cell of a row names it."""

    kind: ClassVar[str] = "table"
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    @classmethod
    def of(cls, table: "plain.Table") -> "Table":
        """One of the tables of a terminal; what is empty there is a dash here."""
        rows = [[cell or NOTHING for cell in row] for row in table.rows]
        return cls(table.title, table.header, rows, table.note)

    @property
    def numeric(self) -> Sequence[bool]:
        """Of each column whether it holds numbers."""
        columns = zip(*self.rows, strict=True) if self.rows else [[]] * len(self.header)
        return [all(map(_is_number, column)) for column in columns]


@dataclass(frozen=True)
class Figure:
    """What is drawn by `figures.js`, and its numbers."""

    kind: ClassVar[str] = "figure"
    title: str
    draws: Literal["lines", "heat", "ranks", "map"]
    says: str
    """What it shows, for who does not see it."""
    data: Json
    table: Table


class Picture(NamedTuple):
    """One small image."""

    source: str
    """A data URI, see `thumbnails.py`."""
    says: str
    """What it shows, for who does not see it."""
    label: str = ""
    """Below it, where several stand side by side."""


class Shown(NamedTuple):
    """One unit of a gallery."""

    pictures: Sequence[Picture]
    title: str
    lines: Sequence[str]
    wrong: bool = False
    """Whether the model's answer is not the right one."""


@dataclass(frozen=True)
class Gallery:
    """Units side by side, in rows that have a name."""

    kind: ClassVar[str] = "gallery"
    title: str
    rows: Sequence[tuple[str, Sequence[Shown]]]


@dataclass(frozen=True)
class Key:
    """What the colours of pictures mean."""

    kind: ClassVar[str] = "key"
    colours: Sequence[tuple[str, str]]
    """Colour (`#rrggbb`) and name."""


@dataclass(frozen=True)
class Listing:
    """A text as it is: commands, a file."""

    kind: ClassVar[str] = "listing"
    title: str
    text: str


@dataclass(frozen=True)
class Fold:
    """Blocks that are folded away until somebody opens them."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: "Sequence[Block]"
    is_open: bool = False


@dataclass(frozen=True)
class Part:
    """Blocks below a heading of their own."""

    kind: ClassVar[str] = "part"
    title: str
    blocks: "Sequence[Block]"


Block = Text | Table | Figure | Gallery | Key | Listing | Fold | Part


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or NUMBERS.fullmatch(cell) is not None


class Section(NamedTuple):
    """One topic of a page."""

    title: str
    blocks: Sequence[Block]
