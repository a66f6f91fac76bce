"""A table as text, and its forms: for a terminal, as Markdown and as LaTeX."""

from typing import Any, Literal, NamedTuple

from rayal.report.places import in_latex, in_markdown, printable


class Table(NamedTuple):
    """A table as text, ready for any of its forms."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str
    prose: bool = False
    """Whether its last column is sentences."""


def grid(table: Table) -> Any:
    """For a terminal: something that `rich.print` shows."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid
    from rich.text import Text

    def plain(text: str) -> Text:
        return Text(printable(text))

    made = Grid(title=plain(table.title), caption=plain(table.note), box=SIMPLE_HEAD)
    made.title_justify = made.caption_justify = "left"
    for index, column in enumerate(table.header):
        left = not index or (table.prose and index == len(table.header) - 1)
        justify: Literal["left", "right"] = "left" if left else "right"
        made.add_column(plain(column), justify=justify, no_wrap=not index)
    for cells in table.rows:
        made.add_row(*map(plain, cells))
    return made


def markdown(table: Table) -> list[str]:
    """Its heading, its rows and its note, a block each."""
    header, *rows = ([in_markdown(cell) for cell in row] for row in (table.header, *table.rows))
    lines = [header, ["---"] * len(header), *rows]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return [f"### {in_markdown(table.title)}", body, in_markdown(table.note)]


def latex(table: Table) -> str:
    """A floating table with its caption, for the package booktabs."""
    header, *rows = (
        " & ".join(map(in_latex, cells)) + r" \\" for cells in (table.header, *table.rows)
    )
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{in_latex(table.title)}. {in_latex(_sentence(table.note))}}}",
        rf"\begin{{tabular}}{{{_columns(table)}}}",
        r"\toprule",
        header,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _columns(table: Table) -> str:
    rest = len(table.header) - 1
    return "l" + ("r" * (rest - 1) + r"p{0.75\linewidth}" if table.prose else "r" * rest)


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}." if note else ""
