"""Tables that list image files and their labels: which rows are of which split."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rayal.data.datasets._labels import Labels
from rayal.data.label_table import Row, Table, rows_of
from rayal.data.named_file import NamedFiles
from rayal.data.table import UserTable, check, open_table
from rayal.errors import DataError, counted, quoted, some

TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""What a table is called, as Hugging Face's `imagefolder` has it."""
FILE = "file_name"
"""The column of names, or the end of what it is called."""
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


class Listed(NamedTuple):
    """What is listed of one split."""

    split: str
    file: str
    """The table, below root."""
    table: Table
    """Its rows; ids are paths below root, labels that are missing are None."""
    others: Mapping[str, Sequence[str]] = {}
    """Splits of the same table that nobody asked for, and the paths of their images."""

    @property
    def labeled(self) -> bool:
        """Whether any row has a label."""
        return any(row.label is not None for row in self.table.rows)

    @property
    def labels(self) -> Labels:
        """Of every row."""
        rows = self.table.rows
        ids, places = [row.id for row in rows], [row.place for row in rows]
        return Labels(self.split, ids, [row.label for row in rows], places)


class Lists:
    """The tables below a root."""

    def __init__(
        self, root: Path, follow_links: bool, table: str | None, image: str | None
    ) -> None:
        self._files = NamedFiles(root, follow_links)
        self.root, self.names, self.image = root, (table,) if table else TABLES, image

    def of_folder(self, split: str, label: str | None) -> Listed:
        """All rows of the table in the folder of a split; DataError with all that is wrong with its
        names, FileNotFoundError where there is none."""
        inside = os.path.normpath(split)
        file, table = self._opened("" if inside == "." else inside)
        return Listed(split, file, self._rows(file, table, label, range(len(table.numbers))))

    def of_column(self, column: str, labels: Mapping[str, str | None]) -> list[Listed]:
        """The rows of the table in root, by what a column says; `labels` has the column of labels
        of each split that is asked for."""
        file, table = self._opened("")
        _check_column(table, "split", column)
        said = table.texts(column)
        chosen = dict[str, list[int]]()
        for row, split in enumerate(said):
            chosen.setdefault(split, []).append(row)
        if absent := [split for split in labels if split not in chosen]:
            raise DataError(
                f"{table.location}: no row is of the split {some(absent)}, its splits are"
                f" {some([*chosen])}; set dataset.pool and dataset.test to two of them"
            )
        rows = {
            split: self._rows(file, table, labels.get(split), each)
            for split, each in chosen.items()
        }
        others = {
            split: [row.id for row in of_split.rows]
            for split, of_split in rows.items()
            if split not in labels
        }
        return [Listed(split, file, rows[split], others) for split in labels]

    def _opened(self, inside: str) -> tuple[str, UserTable]:
        """The path of the table in a folder, and what is in it."""
        found = [name for name in self.names if os.path.isfile(self.root / inside / name)]
        if not found:
            raise FileNotFoundError(2, "missing", str(self.root / inside / self.names[0]))
        if len(found) > 1:
            raise DataError(
                f"{self.root / inside} has {some(found)}; set dataset.table to the one that is"
                " meant"
            )
        try:
            file = self._files.path(inside, found[0])
        except DataError as error:
            raise DataError(f"{self.root / inside / found[0]} {error}") from error
        return file, open_table(f"{self.root}/{file}")

    def _rows(self, file: str, table: UserTable, label: str | None, chosen: Sequence[int]) -> Table:
        if label is not None:
            _check_column(table, "label", label)
        found = rows_of(table, self._column(table), label)
        folder, rows, problems = os.path.dirname(file), list[Row](), list[str]()
        for number in chosen:
            row = found.rows[number]
            try:
                path = self._files.path(folder, row.id)
            except DataError as error:
                problems.append(f"{row.place}: {error}")
                continue
            rows.append(row._replace(id=path, label=None if row.label == "" else row.label))
        check(table.location, problems)
        if not rows:
            raise DataError(f"{table.location} lists no image; add some")
        return found._replace(rows=rows)

    def _column(self, table: UserTable) -> str:
        """That of the files' names."""
        names = [*table.names]
        ends = [name for name in names if name.endswith(f"_{FILE}")]
        likely = [FILE] if FILE in names else ends
        column = self.image or (likely[0] if len(likely) == 1 else None)
        if column is None:
            raise DataError(
                f"{table.location} has the columns {some(names)}; set dataset.image to that of the"
                " images' file names"
            )
        _check_column(table, "image", column)
        return column


def with_numbers(found: Sequence[Listed], classes: Sequence[str] | None) -> list[Listed]:
    """The same, texts as the numbers that they are where all labels are whole numbers and not, as
    they are written, the names of classes: a `.csv` has texts alone."""
    labels = {row.label for each in found for row in each.table.rows} - {None}
    whole = all(NUMBER.fullmatch(str(label)) for label in labels)
    if not whole or all(label in (classes or ()) for label in labels):
        return [*found]
    return [each._replace(table=each.table._replace(rows=_numbered(each))) for each in found]


def _numbered(found: Listed) -> list[Row]:
    return [
        row if row.label is None else row._replace(label=int(row.label)) for row in found.table.rows
    ]


def check_alike(found: Sequence[Listed]) -> None:
    """Raises DataError where one split has class names and another numbers."""
    kinds = {
        each.file: {type(row.label) for row in each.table.rows} - {type(None)} for each in found
    }
    if len({*map(frozenset, filter(None, kinds.values()))}) > 1:
        raise DataError(
            f"{' and '.join(kinds)}: labels are names in one and numbers in the other; write both"
            " alike, or set dataset.classes"
        )


def _check_column(table: UserTable, field: str, name: str) -> None:
    """Raises DataError unless there is one column of this name."""
    count = [*table.names].count(name)
    if count == 1:
        return
    there = counted(count, "column") if count else "no column"
    meant = {
        "image": "that of the images' file names",
        "split": "that of the splits",
        "label": "that of the classes, or to null where nobody has labeled the pool",
    }
    raise DataError(
        f"{table.location} has {there} {quoted(name)}, of {some(table.names)}; set dataset.{field}"
        f" to {meant[field]}"
    )
