"""Your own images that nobody has labeled yet, and a few labeled ones to test with, or none."""

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from rayal.data.datasets._labels import check_told
from rayal.data.datasets.base import EncodedDataset
from rayal.data.label_table import Table, is_table, read_table
from rayal.data.listing import (
    Addresses,
    class_folder,
    class_images,
    common_classes,
    list_images,
    units_of,
)
from rayal.data.named_file import located
from rayal.data.source import NO_UNITS, Source, Units
from rayal.errors import DataError, quoted

HERE = "."
"""Root itself, in place of a folder below it."""


class UnlabeledFolder(EncodedDataset):
    """`root/pool/.../image.jpg` without labels, `root/test/<class>/.../image.jpg` with.

    People label it: oracle `people`, or `rayal.ActiveLearner`; an experiment with a simulated
    oracle is refused. The path below `root` is the id. Folders below `pool` mean nothing; what is
    no image is left out with a warning that counts why. A folder of photographs as it is: `pool: .`
    with `test: null`, or with test images that lie elsewhere below root or are listed in a file;
    these are no part of the pool, wherever they lie.
    """

    layout: ClassVar[str] = (
        "a folder of images to label (dataset.pool, . for root itself), and one of test images by"
        " class (dataset.test, null for none)"
    )
    origin: ClassVar[str] = "a folder of images"
    licence: ClassVar[str] = "not stated"

    pool: str | None = "pool"
    """Folder of the images to label, below root; null, or a dot: root itself."""
    test: str | None = "test"
    """Folder of the test images, below root, in it one for each class; or a .csv or .parquet there
    with columns path (below root) and label; null: there are none."""
    classes: tuple[str, ...] | None = None
    """Classes in the order of their indices, those without a test image too; null: those of the
    test images, sorted as text. Required where there are no test images."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        check_told(self.classes, self.tested)
        if self.test is not None and _is_in(self._pool, self.test):
            raise ValueError(
                f"pool {self._pool!r} lies in test {self.test!r}, whose folders are classes; move"
                " one of them"
            )
        return self

    @property
    def tested(self) -> bool:
        return self.test is not None

    def files(self) -> list[str]:
        """The list of the test images comes last, if there is one."""
        pool = list_images(self.folder, self._pool, self.follow_links)
        if self.test is None:
            return pool
        if not is_table(self.test):
            test = [*class_images(self.folder, self.test, self.follow_links)]
            return [*dict.fromkeys([*pool, *test])]
        listed = [path for path in self._table.paths if os.path.isfile(self.folder / path)]
        return [*dict.fromkeys([*pool, *listed]), self.test]

    def source(self) -> Source:
        return self.source_of(self.files())

    def source_of(self, files: Sequence[str]) -> Source:
        classes, test = self._tests(files)
        known = {*test.ids, self.test}
        pool = [path for path in files if _is_in(path, self._pool) and path not in known]
        if not pool:
            raise DataError(
                f"{self.folder / self._pool} holds no images to label; correct dataset.root or"
                " dataset.pool"
            )
        return Source(
            classes=classes,
            pool=Units(pool, [None] * len(pool), Addresses(self.folder, pool)),
            test=test,
            origin=self.origin,
            licence=self.licence,
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _tests(self, files: Sequence[str]) -> tuple[Sequence[str], Units]:
        """The classes, and the test images."""
        if self.test is None:
            return self.classes or (), NO_UNITS
        if is_table(self.test):
            return self._table.units(files, self.classes)
        paths = [path for path in files if _is_in(path, self.test)]
        found = [class_folder(path, self.test) for path in paths]
        classes = self.classes or common_classes({self.test: found})
        return classes, units_of(self.folder, self.test, paths, found, classes)

    @property
    def _pool(self) -> str:
        """Empty where it is root itself."""
        return "" if self.pool in (None, HERE) else str(self.pool)

    @property
    def _table(self) -> "_TestTable":
        return _TestTable(self.folder, read_table(located(self.folder, str(self.test))))


class _TestTable:
    """A table of test images, by their paths below root."""

    def __init__(self, root: Path, table: Table) -> None:
        self.root, self.table = root, table

    @cached_property
    def paths(self) -> list[str]:
        """Of each row."""
        return [os.path.normpath(row.id) for row in self.table.rows]

    def units(self, files: Iterable[str], given: Sequence[str] | None) -> tuple[list[str], Units]:
        """The classes, `given` or those that occur, and the images; DataError with all that is
        wrong with any row."""
        classes = list(given or self.table.classes())
        rows = zip(self.table.rows, self.paths, strict=True)
        table = self.table._replace(rows=[row._replace(id=path) for row, path in rows])
        there = {*files}
        missing = [
            f"{row.place}: no image {quoted(row.id)} is below {self.root}; correct the path"
            for row in table.rows
            if row.id not in there
        ]
        table.check([*missing, *table.problems(classes)])
        labels = table.indices(classes)
        paths = list(labels)
        return classes, Units(paths, list(labels.values()), Addresses(self.root, paths))


def _is_in(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
