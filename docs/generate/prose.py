"""Docstrings as Markdown: they are nearly that already."""

import re
from collections.abc import Sequence
from inspect import cleandoc

ITEM = re.compile(r"(-|\d+\.) ")
"""How an item of a list begins."""


def markdown(docstring: str | None) -> str:
    """The same text, its lists and examples set off as Markdown wants them, its signs escaped.

    Lists get an empty line before them, lines that begin with `>>>` become a block of code, and
    what would be read as HTML or as a link is shown as it is.
    """
    lines: list[str] = []
    example = False
    for line in cleandoc(docstring or "").splitlines():
        before = lines[-1] if lines else ""
        if not example and line.startswith(">>>"):
            lines += ["", "```pycon"]
            example = True
        elif example and not line.strip():
            lines.append("```")
            example = False
        if example or line.startswith("    "):
            lines.append(line)
            continue
        if ITEM.match(line) and before.strip() and not _in_list(lines):
            lines.append("")
        lines.append(escaped(line))
    return "\n".join(lines + ["```"] * example).strip()


def _in_list(lines: list[str]) -> bool:
    """Whether the paragraph that these lines end with began as an item."""
    for line in reversed(lines):
        if not line.strip():
            return False
        if ITEM.match(line):
            return True
    return False


def escaped(text: str) -> str:
    """The text with signs of HTML and links as themselves, but for what stands in backticks."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"[<\[\]]", _escape, piece.replace("&", "&amp;"))
        for piece in pieces
    )


def _escape(sign: re.Match[str]) -> str:
    return "&lt;" if sign[0] == "<" else f"\\{sign[0]}"


def cell(text: str) -> str:
    """Markdown in a cell of a table: one line, no bar of its own outside of code."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else p.replace("|", "&#124;") for p in pieces)


def code(text: str) -> str:
    """As code, also within a cell of a table."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of Markdown; nothing where it has no rows."""
    if not rows:
        return ""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def page(*blocks: str) -> str:
    """Blocks of Markdown under each other, less the empty ones."""
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"
