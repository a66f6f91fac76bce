"""Notebooks as pages: their cells as Markdown, their figures as files."""

import base64
import re
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from prose import page


class Converted(NamedTuple):
    """A page and the figures that it shows."""

    markdown: str
    figures: dict[str, bytes]
    """By name, beside the page."""


def converted(path: Path) -> Converted:
    """The notebook in a file, as it was last executed."""
    blocks: list[str] = []
    figures: dict[str, bytes] = {}
    for cell in nbformat.read(path, as_version=4).cells:  # type: ignore[no-untyped-call]
        if cell.cell_type == "markdown":
            blocks.append(re.sub(r"(\]\([\w./-]+)\.ipynb", r"\1.md", cell.source))
        elif cell.cell_type == "code" and cell.source.strip():
            blocks.append(_fenced(cell.source, "python"))
            for output in cell.outputs:
                blocks.append(_shown(output, path.stem, figures))
    download = f"[Download this notebook]({path.name}){{ .download }}"
    first, *others = blocks
    return Converted(page(first, download, *others), figures)


def _shown(output: Any, stem: str, figures: dict[str, bytes]) -> str:
    """One output: a figure, a table, or text."""
    if output.output_type == "stream":
        return _fenced(output.text, "text") if output.name == "stdout" else ""
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}-{len(figures) + 1}.png"
        figures[name] = base64.b64decode(data["image/png"])
        return f"![Output of the cell above]({name})"
    if "text/html" in data:
        return f'<div class="output" markdown="0">\n{_plain(data["text/html"])}\n</div>'
    if "text/markdown" in data:
        return str(data["text/markdown"])
    return _fenced(data["text/plain"], "text") if "text/plain" in data else ""


def _plain(html: str) -> str:
    """The same without its own looks: tables look like the site's."""
    html = re.sub(r"<style\b.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"<(table|tr|th|td)\b[^>]*>", r"<\1>", html).strip()


def _fenced(text: str, language: str) -> str:
    fence = "````" if "```" in text else "```"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
