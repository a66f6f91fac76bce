"""The docstrings of a part, taken apart: what it is, where it is from, what is different here."""

import inspect
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Role = Literal["text", "source", "differences"]

_ROLES: dict[str, Role] = {
    "Source": "source",
    "Reference": "source",
    "Difference": "differences",
    "Differences": "differences",
}
_OPENING = re.compile(rf"^\*?({'|'.join(_ROLES)})\b\*?")
"""`Source: ...` and `*Differences*: ...`, at the beginning of a line."""
_LABEL = re.compile(r"^\*?(Source|Differences?)\*?[:,]\s*")
"""What goes, as a heading says the same."""
_CITED = re.compile(r"\(((?:[^()]|\([^()]*\))*\b(?:19|20)\d\d\b(?:[^()]|\([^()]*\))*)\)")
"""`(Shannon 1948)`: a year in parentheses."""


class Section(NamedTuple):
    """Some paragraphs of a docstring."""

    role: Role
    text: str
    """Paragraphs with an empty line between; a line stays a line in lists, tables and code."""


def sections(docstring: str | None) -> list[Section]:
    """All of a docstring but its first paragraph, in order; code belongs to what is above it."""
    found: list[Section] = []
    for paragraph in _paragraphs(docstring)[1:]:
        if paragraph.startswith(" ") and found:
            role, text = found.pop()
            found.append(Section(role, f"{text}\n\n{paragraph}"))
        else:
            found += map(_section, _pieces(paragraph))
    return found


def first(docstring: str | None) -> str:
    """The first paragraph, as one line."""
    return flowing(next(iter(_paragraphs(docstring)), ""))


def line(docstring: str | None) -> str:
    """The first line, for lists."""
    return (docstring or "").strip().partition("\n")[0]


def cited(docstring: str | None) -> list[str]:
    """What is cited in the first paragraph of a docstring, in parentheses with a year."""
    return _CITED.findall(first(docstring))


def flowing(text: str) -> str:
    """Lines of one sentence as one line; lists, tables and code as they are."""
    blocks = text.split("\n\n")
    return "\n\n".join(block if _is_laid_out(block) else _joined(block) for block in blocks)


def _is_laid_out(block: str) -> bool:
    return block.startswith((" ", "|"))


def _joined(block: str) -> str:
    """One line, and one for each item of a list."""
    lines: list[str] = []
    for line in block.splitlines():
        if not lines or re.match(r"(-|\d+\.) ", line):
            lines.append(line.strip())
        else:
            lines[-1] += f" {line.strip()}"
    return "\n".join(lines)


def _paragraphs(docstring: str | None) -> list[str]:
    text = inspect.cleandoc(docstring or "")
    blocks = re.split(r"\n(?:[ \t]*\n)+", text)
    return [block.rstrip() for block in blocks if block.strip()]


def _pieces(paragraph: str) -> Iterator[str]:
    """A paragraph, cut before each line that opens another role."""
    piece: list[str] = []
    for line in paragraph.splitlines():
        if _OPENING.match(line) and piece:
            yield "\n".join(piece)
            piece = []
        piece.append(line)
    yield "\n".join(piece)


def _section(piece: str) -> Section:
    opening = _OPENING.match(piece)
    role: Role = _ROLES[opening[1]] if opening else "text"
    text = re.sub(r"^\*(\w+)\*:", r"\1:", _LABEL.sub("", flowing(piece)))
    return Section(role, text[:1].upper() + text[1:])
