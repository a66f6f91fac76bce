"""Your own images that nobody has labeled yet, and a few labeled ones to test with."""

from collections.abc import Sequence
from typing import ClassVar

from rayal.data.datasets.base import EncodedDataset
from rayal.data.listing import (
    Addresses,
    class_folder,
    class_images,
    common_classes,
    list_images,
    units_of,
)
from rayal.data.source import Source, Units


class UnlabeledFolder(EncodedDataset):
    """`root/pool/.../image.jpg` without labels, `root/test/<class>/.../image.jpg` with.

    For people who label, see `rayal.ActiveLearner`: an experiment with a simulated oracle is
    refused. The path below `root` is the id. Folders below `pool` mean nothing; what is no image is
    left out with a warning that counts why.
    """

    layout: ClassVar[str] = "a folder of images to label, and one of test images by class"
    origin: ClassVar[str] = "a folder of images"
    licence: ClassVar[str] = "not stated"

    pool: str = "pool"
    """Folder of the images to label, below root."""
    test: str = "test"
    """Folder of the test images, below root; in it one for each class."""
    classes: tuple[str, ...] | None = None
    """Classes in the order of their indices, those without a test image too; null: the class
    folders of the test images, sorted as text."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""

    def files(self) -> list[str]:
        return [
            *list_images(self.folder, self.pool, self.follow_links),
            *class_images(self.folder, self.test, self.follow_links),
        ]

    def source(self) -> Source:
        return self.source_of(self.files())

    def source_of(self, files: Sequence[str]) -> Source:
        pool = [path for path in files if path.startswith(f"{self.pool}/")]
        test = [path for path in files if path.startswith(f"{self.test}/")]
        found = [class_folder(path, self.test) for path in test]
        classes = self.classes or common_classes({self.test: found})
        return Source(
            classes=classes,
            pool=Units(pool, [None] * len(pool), Addresses(self.folder, pool)),
            test=units_of(self.folder, self.test, test, found, classes),
            origin=self.origin,
            licence=self.licence,
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )
