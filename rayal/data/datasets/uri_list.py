"""Your own images where they lie, in an object store or on disks: lists of their addresses."""

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import model_validator

from rayal.data import uri
from rayal.data.datasets._labels import check_told
from rayal.data.datasets.base import EncodedDataset
from rayal.data.label_table import is_table, read_table
from rayal.data.named_file import located
from rayal.data.source import NO_UNITS, Keep, Source, Units
from rayal.errors import DataError
from rayal.storage.folder import Folder


class UriList(EncodedDataset):
    """`root/pool.txt` lists images without labels, `root/test.csv` some with labels.

    An address a line, such as s3://bucket/photos/0001.jpg or an absolute path, which is the id too.
    Images stay where they lie, unless `encoding` says otherwise, and every machine reads them from
    there; credentials come from the environment.
    """

    layout: ClassVar[str] = "a list of addresses (dataset.pool) and one with labels (dataset.test)"

    pool: str = "pool.txt"
    """Text file below root with the address of an image to label in each line."""
    test: str | None = "test.csv"
    """A .csv or .parquet below root with columns uri and label; null: there are no test images."""
    classes: tuple[str, ...] | None = None
    """Classes in the order of their indices; null: those of the test images, sorted as text.
    Required where there are no test images."""
    encoding: Keep = "uri"
    """How the store keeps images: only where they lie (`uri`), as they are (`bytes`), or decoded
    once (`raw`); `auto`: raw up to 64 pixels a side, larger ones as bytes."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        check_told(self.classes, self.tested)
        if self.test is not None and not is_table(self.test):
            raise ValueError(
                f"test {self.test!r} is no .csv or .parquet file; give one with columns uri and"
                " label"
            )
        return self

    @property
    def tested(self) -> bool:
        return self.test is not None

    def files(self) -> list[str]:
        return [self.pool, *([] if self.test is None else [self.test])]

    def source(self) -> Source:
        classes, test = self._tests()
        known = {*test.ids}
        pool = [address for address in self._lines() if address not in known]
        return Source(
            classes=classes,
            pool=Units(pool, [None] * len(pool), pool),
            test=test,
            origin=f"addresses in {self.folder}",
            licence="not stated",
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def _tests(self) -> tuple[Sequence[str], Units]:
        """The classes, and the test images."""
        if self.test is None:
            return self.classes or (), NO_UNITS
        table = read_table(located(self.folder, self.test))
        classes = self.classes or table.classes()
        table.check(table.problems(classes))
        labels = table.indices(classes)
        ids = [*map(uri.checked, labels)]
        return classes, Units(ids, list(labels.values()), ids)

    def _lines(self) -> list[str]:
        place = located(self.folder, self.pool)
        folder, _, name = place.rpartition("/")
        try:
            text = Folder(folder or "/").read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{place} is not in UTF-8; save it as UTF-8") from error
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        found = dict.fromkeys(line for line in lines if line)  # the same twice is one image
        if not found:
            raise DataError(f"{place} lists no image; add some")
        return [*map(uri.checked, found)]
