"""Your own images: one folder per split, in it one folder per class."""

from collections.abc import Sequence
from typing import ClassVar

from rayal.dataset import EncodedDataset, Source
from rayal.listing import common_classes, list_images, units_of


class ImageFolder(EncodedDataset):
    """`root/<split>/<class>/.../image.jpg`; the path below `root` is the id.

    Classes are matched by name, alike in both splits. What is no image is left out with a warning
    (`listing.py` says what); an image outside of the class folders is an error.
    """

    layout: ClassVar[str] = "a folder for each split and in it one for each class"
    origin: ClassVar[str] = "a folder of images"
    licence: ClassVar[str] = "not stated"

    pool: str = "train"
    """Folder of the pool, below root."""
    test: str = "test"
    """Folder of the test images, below root."""
    classes: tuple[str, ...] | None = None
    """Class folders in the order of their indices; null: those of both splits, sorted as text."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""

    def files(self) -> list[str]:
        return [path for split in (self.pool, self.test) for path in self._paths(split)]

    def source(self) -> Source:
        pool, test = self._paths(self.pool), self._paths(self.test)
        classes = self.classes or common_classes({self.pool: pool, self.test: test})
        return Source(
            classes=self.class_names(classes),
            pool=units_of(self.folder, self.pool, pool, classes),
            test=units_of(self.folder, self.test, test, classes),
            origin=self.origin,
            licence=self.licence,
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def class_names(self, classes: Sequence[str]) -> Sequence[str]:
        """What the class folders are called in reports."""
        return classes

    def _paths(self, split: str) -> list[str]:
        return list_images(self.folder, split, self.follow_links)
