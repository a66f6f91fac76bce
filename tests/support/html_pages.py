"""What a folder of HTML pages holds: anchors and addresses, read without a browser."""

from html.parser import HTMLParser
from pathlib import Path

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}
"""Tag and attribute of what a browser fetches by itself."""


class Page(HTMLParser):
    """One page: its anchors, what it links to, what it makes a browser fetch, and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loads = set[str](), set[str](), set[str]()
        self.text = ""
        self._unread = 0
        self.feed(file.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unread += tag in ("script", "style")
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)
            if (tag, name) == ("a", "href"):
                self.links.add(value)
            if (tag, name) in LOADED:
                self.loads.add(value)

    def handle_endtag(self, tag: str) -> None:
        self._unread -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.text += data


def read(folder: Path) -> dict[Path, Page]:
    """Every page in a folder, by its file."""
    return {file.resolve(): Page(file) for file in sorted(folder.rglob("*.html"))}
