"""Text for people, escaped for the place where it stands, and for that one alone.

A name from a file may hold anything: signs that a terminal obeys, a column of a table, a formula.
"""

import re

MARKDOWN = re.compile(r"[\\`*\[\]|$]|<(?=[a-zA-Z/!?])|&(?=#?\w+;)|~(?=~)|(?<!\w)_|_(?!\w)")
"""What Markdown, its tables or its mathematics act upon; not `_` inside of a word."""
NO_LETTER = re.compile(r"[^ -~\xa0-\u024f–]")
"""What the font of figures lacks, and what would end a line."""


def printable(text: str) -> str:
    """On one line of a terminal: control signs are shown, not obeyed."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def in_markdown(text: str) -> str:
    """In a cell, a heading or a paragraph."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


def in_figure(text: str) -> str:
    """In a figure, where what stands between two dollars has to be kept from typesetting apart, by
    `parse_math=False`."""
    return NO_LETTER.sub("?", text)
