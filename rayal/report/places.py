"""Text for people, escaped for the place where it stands, and for that one alone.

A name from a file may hold anything: signs that a terminal obeys, a column of a table, a formula.
"""

import re

MARKDOWN = re.compile(r"[\\`*\[\]|$]|<(?=[a-zA-Z/!?])|&(?=#?\w+;)|~(?=~)|(?<!\w)_|_(?!\w)")
"""What Markdown, its tables or its mathematics act upon; not `_` inside of a word."""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    **{sign: rf"${sign}$" for sign in "<>|"},
    "±": r"$\pm$",
    "–": "--",
    "[": "{[}",  # behind the end of a row it would be a length
}
"""What LaTeX acts upon, or has no letter for, and what stands for it."""
NO_LETTER = re.compile(r"[^ -~\xa0-\u024f–]")
"""What the font of figures lacks, and what would end a line."""


def printable(text: str) -> str:
    """On one line of a terminal: control signs are shown, not obeyed."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def wrapped(text: str, size: float, width: float) -> str:
    """In lines that are no wider than `width` inches in the font of figures at so many points; a
    word that is wider is divided."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if inches(longer, size) <= width:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for sign in word:
            if lines[-1] and inches(lines[-1] + sign, size) > width:
                lines.append("")
            lines[-1] += sign
    return "\n".join(lines)


def inches(text: str, size: float) -> float:
    """How wide a text is in the font of figures at so many points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    measured, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(measured) / 72


def in_markdown(text: str) -> str:
    """In a cell, a heading or a paragraph."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


def in_latex(text: str) -> str:
    """In a cell or a caption of a LaTeX file in UTF-8."""
    return "".join(LATEX.get(sign, sign) for sign in printable(text))


def in_figure(text: str) -> str:
    """In a figure, where what stands between two dollars has to be kept from typesetting apart, by
    `parse_math=False`."""
    return NO_LETTER.sub("?", text)
