"""A table for a spreadsheet or a script: a row is a unit, its label is filled in.

    rayal_rank,rayal_id,image,suggested,label,annotator,seconds,rayal_request
    1,train-00012,images/0001-train-00012-9f2c66b0.png,,,,r-9f2c66b07c1a55de

An empty label is a unit that waits; the word of `skip` one that cannot be labeled. Several
annotators give a file each, or rows of their own.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from rayal.errors import UsageError, quoted
from rayal.labeling.exchange._ids import Meant
from rayal.labeling.exchange._skipping import Skipping
from rayal.labeling.exchange._table import Row, plain, read_table, written
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder

FILE = "to_label.csv"
REQUEST, RANK, ID = "rayal_request", "rayal_rank", "rayal_id"
COLUMNS = (RANK, ID, "image", "suggested", "label", "annotator", "seconds", REQUEST)
"""The request stands last: a row that ends in it was not cut off."""
NEEDED = (ID, "label")
MARK = "r-"
"""Before the request's name, which may look like a number: spreadsheets leave texts as they are."""
WHOLE = re.compile(r"([0-9]+)([.,]0+)?")
SECONDS = re.compile(r"[0-9]+([.,][0-9]+)?")
THOUSANDS = re.compile(r"[0-9]{1,3}\.[0-9]{3}")


class Csv(Skipping):
    """A table as CSV, with a row for each unit, for a spreadsheet or a script."""

    labels: ClassVar[frozenset[str]] = frozenset({"classes"})
    times: ClassVar[bool] = True

    def check(self, classes: Sequence[str]) -> None:
        super().check(classes)
        if odd := [each for each in classes if plain(each) != each and plain(each) in classes]:
            raise UsageError(
                f"the classes {quoted(plain(odd[0]))} and {quoted(odd[0])} look alike in a"
                " spreadsheet; use label_studio"
            )

    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        rows = [
            (
                item.rank,
                item.unit,
                item.image,
                _guess(asked, suggestions.get(item.unit)),
                "",
                "",
                "",
                MARK + asked.name,
            )
            for item in asked.items
        ]
        out.write(FILE, written(COLUMNS, rows))

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        return (
            f"Open `{place}/{FILE}` in a spreadsheet. Import the column `{ID}` as text, so that"
            " it stays as it is.",
            f"Look at the image that `image` names, and fill in `label`:"
            f" {', '.join(f'`{name}`' for name in asked.classes)}; or `{self.skip}` for an image"
            " that cannot be labeled. Rows without a label wait. `suggested` is what the model"
            " thinks; it is not read.",
            "If you like, fill in `annotator` (who says it) and `seconds` (how long it took). A"
            " second annotator fills in a copy of the file, or rows of their own.",
            "Save it as CSV UTF-8. Sort whole rows only; more columns, and fewer rows, do not"
            " matter.",
            "Look at what would be taken: `rayal labels add RUN FILE --check`; then give it without"
            " `--check`, and the run's own command again.",
        )

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        table = read_table(data, NEEDED)
        meant = Meant(asked.by_unit)
        for row in table.rows:
            if isinstance(row, Problem):
                yield row
                continue
            try:
                if row.cells["label"].strip():
                    if row.open:
                        _check_end(row, table.columns[-1], asked, self.skip)
                    yield self._answer(row, table.delimiter, asked, meant)
            except UsageError as error:
                yield Problem(row.where, str(error))

    def _answer(self, row: Row, delimiter: str, asked: Asked, meant: Meant) -> Answer:
        cells = row.cells
        if cells.get(REQUEST, "").strip() not in ("", *_marks(asked)):
            raise UsageError(f"belongs to another request, {quoted(cells[REQUEST])}; leave it out")
        request, item = _item(cells, asked, meant)
        label = plain(cells["label"])
        if label != self.skip and label.strip().casefold() == self.skip.casefold():
            raise UsageError(f"{quoted(label)} is no class; did you mean {self.skip!r}?")
        return Answer(
            row.where,
            item.unit,
            None if label == self.skip else label,
            cells.get("annotator", "").strip(),
            _seconds(cells.get("seconds", "").strip(), delimiter),
            request=request,
        )


def _guess(asked: Asked, said: Suggestion | None) -> str:
    predicted = said.predicted if said else None
    return asked.classes[predicted] if isinstance(predicted, int) else ""


def _item(cells: Mapping[str, str], asked: Asked, meant: Meant) -> tuple[str, Item]:
    """What a row is of, and by which request, if it says so; raises UsageError where its cells do
    not say it alike."""
    unit = plain(cells[ID])
    there = asked.items_of(unit)
    if not there:
        near = meant.by(unit)
        raise UsageError(
            f"{quoted(unit)} was not asked for; leave it out"
            if near is None
            else f"{quoted(unit)} was not asked for, {quoted(near)} probably was, before a"
            f" spreadsheet changed it; give {ID} as it was, imported as text"
        )
    rank, image = (cells.get(name, "").strip() for name in (RANK, "image"))
    if not rank and not image and unit in meant.twins:
        raise UsageError(
            f"{quoted(unit)} may be what a spreadsheet made of another id; keep the column {RANK}"
        )
    said = cells.get(REQUEST, "").strip().removeprefix(MARK)
    there = {said: there[said]} if said in there else there
    wrong = {name: _apart(item, rank, image) for name, item in there.items()}
    fits = [name for name in there if not wrong[name]]
    if not fits:
        raise UsageError([*wrong.values()][-1])
    return fits[0] if len(fits) == 1 else "", there[fits[-1]]


def _apart(item: Item, rank: str, image: str) -> str:
    """Why the cells of a row are not those of an item; empty where they are."""
    number = WHOLE.fullmatch(rank)
    if rank and (number is None or int(number[1]) != item.rank):
        return (
            f"{quoted(item.unit)} has rank {item.rank}, not {quoted(rank)}: columns were sorted"
            " apart, or the id changed; sort whole rows"
        )
    if image and plain(image).rpartition("/")[2] != item.image.rpartition("/")[2]:
        return (
            f"{quoted(item.unit)} has the image {quoted(item.image)}, not {quoted(image)}: columns"
            " were sorted apart, or the id changed; sort whole rows"
        )
    return ""


def _seconds(text: str, delimiter: str) -> float | None:
    """A number with a point; or with a comma, where that divides no cells."""
    if not text:
        return None
    if not SECONDS.fullmatch(text) or ("," in text and delimiter == ","):
        raise UsageError(f"seconds are {quoted(text)}; give a number such as 12.5, 0 or more")
    if delimiter != "," and THOUSANDS.fullmatch(text):
        other = text.replace(".", ",")
        raise UsageError(
            f"seconds are {quoted(text)}: thousands, or a fraction; write {text.replace('.', '')}"
            f" or {other}"
        )
    number = float(text.replace(",", "."))
    if math.isinf(number):
        raise UsageError(f"seconds are {quoted(text)}; give a number such as 12.5, 0 or more")
    return number


def _marks(asked: Asked) -> frozenset[str]:
    """What the column of requests may say."""
    return frozenset(MARK + name for name in asked.names)


def _check_end(row: Row, last: str, asked: Asked, skip: str) -> None:
    """Raises UsageError for a last row that may be cut off in its last cell."""
    text = row.cells[last]
    if last == REQUEST:
        cut = text.strip() not in _marks(asked)
    elif last == ID:
        cut = sum(unit.startswith(plain(text)) for unit in asked.by_unit) > 1
    elif last == "label":
        cut = sum(each.startswith(plain(text)) for each in (*asked.classes, skip)) > 1
    else:
        cut = last in COLUMNS
    if cut:
        raise UsageError(
            f"is the last and may be cut off in {last}; end it with a line break, or save the file"
            " again"
        )
