"""Your own images: one folder per split, in it one folder per class."""

from collections.abc import Sequence
from typing import ClassVar

from rayal.data.datasets.base import EncodedDataset
from rayal.data.listing import class_folder, class_images, common_classes, units_of
from rayal.data.source import Source


class ImageFolder(EncodedDataset):
    """`root/<split>/<class>/.../image.jpg`; the path below `root` is the id.

    Classes are matched by name, alike in both splits. What is no image is left out with a warning
    that counts why (see `walk.py`); an image outside of the class folders, and a class folder
    without one, is an error.
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
        return [
            path
            for split in (self.pool, self.test)
            for path in class_images(self.folder, split, self.follow_links)
        ]

    def source(self) -> Source:
        return self.source_of(self.files())

    def source_of(self, files: Sequence[str]) -> Source:
        paths = {split: _below(split, files) for split in (self.pool, self.test)}
        found = {split: self.classes_of(split, paths[split]) for split in paths}
        classes = self.classes or common_classes(found)
        pool, test = (
            units_of(self.folder, split, paths[split], found[split], classes)
            for split in (self.pool, self.test)
        )
        return Source(
            classes=self.class_names(classes),
            pool=pool,
            test=test,
            origin=self.origin,
            licence=self.licence,
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )

    def classes_of(self, split: str, paths: Sequence[str]) -> Sequence[str]:
        """The class of each image of a split."""
        return [class_folder(path, split) for path in paths]

    def class_names(self, classes: Sequence[str]) -> Sequence[str]:
        """What the classes are called in reports."""
        return classes


def _below(folder: str, files: Sequence[str]) -> list[str]:
    return [path for path in files if path.startswith(f"{folder}/")]
