"""What a report's page holds, read as a browser reads it, without one."""

import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """Its tables, its figures and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        """Caption -> rows of cells; of a cell that is a number, the number itself."""
        self.figures: list[Any] = []
        """What is drawn, in order."""
        self.scripts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        """All that is shown, and nothing else."""
        self._inside: list[str] = []
        self._caption, self._cell = "", ""
        self._rows: list[list[str]] = []
        self._json = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag not in ("meta", "link", "img", "br"):
            self._inside.append(tag)
        if tag == "script":
            self._json = given.get("type") == "application/json"
            self._cell = ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td", "caption"):
            self._cell = ""
        if tag == "data":
            self._number = given["value"] or ""

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        match tag:
            case "script" if self._json:
                self.figures.append(json.loads(self._cell))
            case "script":
                self.scripts.append(self._cell)
            case "caption":
                self._caption, self._rows = self._cell, []
            case "data":
                self._cell = self._number
            case "th" | "td":
                self._rows[-1].append(self._cell)
            case "table":
                self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        self._cell += data
        if not {"script", "style"} & {*self._inside}:
            self.text += data
