"""What configs/RESULTS.md says of a part: the rows of its tables, as they stand there."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import prose
from markdown.extensions.toc import slugify

FILE = Path(__file__).parents[2] / "configs" / "RESULTS.md"
BASELINE = "random"


class Section(NamedTuple):
    """A heading of the second level and what stands below it."""

    title: str
    blocks: tuple[str, ...]
    """Paragraphs, lists, tables and blocks of code, in order."""

    @property
    def anchor(self) -> str:
        return str(slugify(self.title, "-"))

    @property
    def circumstances(self) -> str:
        """When, on what and with which versions it was measured."""
        return self.blocks[0]


@cache
def sections() -> list[Section]:
    """All of the file."""
    _, *texts = re.split(r"^## ", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for text in texts:
        title, _, rest = text.partition("\n")
        found.append(Section(title.strip(), tuple(each.strip() for each in rest.split("\n\n"))))
    return found


def of(name: str) -> str:
    """The rows about a part, with random selection beside them; nothing where there are none."""
    parts = []
    for section in sections():
        if tables := list(_tables(section, name)):
            link = f"[{section.title}](../results.md#{section.anchor})"
            parts += [f"**{link}**", section.circumstances, *tables]
    return prose.page(*parts) if parts else ""


def _tables(section: Section, name: str) -> Iterator[str]:
    """Tables that name the part, cut to it, each with the line below that explains it."""
    for i, block in enumerate(section.blocks):
        if not block.startswith("| "):
            continue
        head, rule, *rows = block.splitlines()
        if _names(head, name):
            kept = rows
        elif not (kept := [row for row in rows if _about(row, name)]):
            continue
        yield "\n".join([head, rule, *kept])
        after = section.blocks[i + 1 : i + 2]
        if after and after[0][:1].islower():
            yield after[0]


def _about(row: str, name: str) -> bool:
    """Whether a row is that of the part, or of random selection where the part is a scheme."""
    return _names(row.split("|")[1], name)


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) is not None
