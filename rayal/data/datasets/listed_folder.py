"""Your own images and a table that says their labels, as Hugging Face's `imagefolder` has them."""

import logging
import os
from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import model_validator

from rayal.data.datasets._labels import check_test_labels, check_told, classes_of
from rayal.data.datasets._listed import Listed, Lists, check_alike, with_numbers
from rayal.data.datasets.base import EncodedDataset
from rayal.data.listing import Addresses
from rayal.data.source import NO_UNITS, Source, Units
from rayal.data.walk import Disk, LeftOut, walk
from rayal.errors import DataError, counted, quoted, some

logger = logging.getLogger(__name__)


class ListedFolder(EncodedDataset):
    """`root/<split>/metadata.csv` (or `.jsonl`, `.parquet`) lists the images beside it.

    Its column `file_name` has paths that start in its own folder; the path below `root` is the id.
    An image that is not listed is left out with a warning, a name without a file is a bad image,
    and one that leads out of root an error. Labels are class names or, where all of them are whole
    numbers, the numbers of classes. A pool in which no row has a label is for people to label
    (oracle `people`, or `rayal.ActiveLearner`); where only some have none, these are refused.
    """

    layout: ClassVar[str] = "a folder for each split, in it images and their metadata.csv"

    pool: str = "train"
    """Folder of the pool and of its table, below root, a dot for root itself; with `split` what
    that column says of images of the pool."""
    test: str | None = "test"
    """Likewise of the test images; null: there are none."""
    split: str | None = None
    """Column that says the split, of one table in root for all images; null: each split has a
    folder and a table of its own."""
    table: str | None = None
    """Name of the tables; null: metadata.csv, metadata.jsonl or metadata.parquet."""
    image: str | None = None
    """Column of file names; null: file_name, or the only one whose name ends so."""
    label: str | None = "label"
    """Column of class names or class indices; null: nobody has labeled the pool."""
    test_label: str | None = None
    """Column of the test images' classes, where it is another than `label`, or that is null; null:
    as `label`."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of their indices; null: those that occur in the pool (of a pool
    without labels: in the test images), sorted as text, or the numbers up to the largest."""
    follow_links: bool = False
    """Follow links that lead out of root (else an error)."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.tested:
            check_test_labels(self.label, self.test_label, "their column of classes", "test: null")
        check_told(self.classes, self.tested or self.label is not None)
        if self.pool == self.test:
            raise ValueError(f"pool and test are both {quoted(self.pool)}; name two splits")
        return self

    @property
    def tested(self) -> bool:
        return self.test is not None

    def files(self) -> list[str]:
        """The tables come last."""
        found = self._listed()
        self._tell_left_out(found)
        named = dict.fromkeys(row.id for each in found for row in each.table.rows)
        there = [path for path in named if os.path.isfile(self.folder / path)]
        return [*there, *dict.fromkeys(each.file for each in found)]

    def source(self) -> Source:
        found = with_numbers(self._listed(), self.classes)
        classes = self.classes or self._classes_of(found)
        pool, *tests = found
        return Source(
            classes=classes,
            pool=self._units(pool, classes) if pool.labeled else self._open(pool),
            test=self._units(tests[0], classes) if tests else NO_UNITS,
            origin=f"images listed in {self.folder}",
            licence="not stated",
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _listed(self) -> list[Listed]:
        """The pool and, if there are some, the test images."""
        labels = {self.pool: self.label}
        if self.test is not None:
            labels[self.test] = self.test_label or self.label
        lists = Lists(self.folder, self.follow_links, self.table, self.image)
        if self.split is not None:
            return lists.of_column(self.split, labels)
        return [lists.of_folder(name, label) for name, label in labels.items()]

    def _classes_of(self, found: Sequence[Listed]) -> tuple[str, ...]:
        labeled = [each.labels for each in found if each.labeled]
        if not labeled:
            raise DataError(
                f"{found[0].file}: no row has a label; set dataset.classes to the names of the"
                " classes"
            )
        check_alike(found)
        return classes_of(labeled[0], labeled[-1])

    def _units(self, listed: Listed, classes: Sequence[str]) -> Units:
        """Raises DataError with all that is wrong with any row."""
        table = listed.table
        table.check(table.problems(classes))
        labels = table.indices(classes)
        paths = [*labels]
        return Units(paths, [*labels.values()], Addresses(self.folder, paths))

    def _open(self, listed: Listed) -> Units:
        """Without labels; a file that is listed twice is one image."""
        paths = [*dict.fromkeys(row.id for row in listed.table.rows)]
        return Units(paths, [None] * len(paths), Addresses(self.folder, paths))

    def _tell_left_out(self, found: Sequence[Listed]) -> None:
        """Warns of images that no table lists, and of rows of other splits."""
        others = found[0].others
        listed = {row.id for each in found for row in each.table.rows}.union(*others.values())
        disk, unlisted = Disk(self.folder, follow_links=True), set[str]()
        for folder in {os.path.dirname(each.file) for each in found}:
            there = (image.path for image in walk(disk, folder, LeftOut()))
            unlisted.update(path for path in there if path not in listed)
        tables = " or ".join(dict.fromkeys(each.file for each in found))
        if unlisted:
            logger.warning(
                "%s: %s not listed in %s and left out, first %s",
                self.folder,
                counted(len(unlisted), "image is", "images are"),
                tables,
                quoted(min(unlisted)),
            )
        if others:
            logger.warning(
                "%s: %s in %s of other splits and left out: %s",
                self.folder,
                counted(sum(map(len, others.values())), "row is", "rows are"),
                tables,
                some([*others]),
            )
