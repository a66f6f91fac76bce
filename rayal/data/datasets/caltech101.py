"""Caltech-101: 8,677 colour and grey photographs of many sizes, 101 classes."""

from itertools import groupby
from typing import ClassVar

from pydantic import NonNegativeInt, PositiveInt
from torchvision import datasets

from rayal.data.datasets.base import EncodedDataset
from rayal.data.listing import class_folder, class_images, units_of
from rayal.data.source import Source
from rayal.randomness import numpy_generator

FOLDER = "caltech101/101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"


class Caltech101(EncodedDataset):
    """90% of each class, rounded down, are the pool (7,766), the rest the test images (911).

    The background folder is no class. The default size is that of TOD: squashed to 256x256, then
    the centre 224x224.

    *Reference*: the protocol of Temporal Output Discrepancy (Huang et al., 2021), code.
    *Differences*: the split is drawn with `split_seed` instead of anew in every process.
    """

    layout: ClassVar[str] = f"the folder {FOLDER} of caltech-101.zip"

    split_seed: NonNegativeInt = 0
    """Seed of the split: which images of each class are the test images."""
    size: PositiveInt | None = 224
    """Side of the square that networks see (pixels); null: as `shape` or `canvas` say."""
    resize: PositiveInt | None = 256
    """Side before the centre is cut out (pixels); null: `size`."""
    squash: bool = True
    """Resize both sides to `resize` instead of keeping the proportions."""

    def files(self) -> list[str]:
        paths = class_images(self.folder, FOLDER)
        return [path for path in paths if class_folder(path, FOLDER) != BACKGROUND]

    def fetch(self) -> None:
        datasets.Caltech101(self.folder, download=True)

    def source(self) -> Source:
        pool, test, classes = list[str](), list[str](), list[str]()
        for name, group in groupby(self.files(), lambda path: class_folder(path, FOLDER)):
            paths = list(group)
            order = numpy_generator("caltech101", self.split_seed, name).permutation(len(paths))
            cut = len(paths) * 9 // 10
            pool += sorted(paths[row] for row in order[:cut])
            test += sorted(paths[row] for row in order[cut:])
            classes.append(name)
        pools, tests = (
            units_of(self.folder, FOLDER, paths, [class_folder(p, FOLDER) for p in paths], classes)
            for paths in (pool, test)
        )
        return Source(
            classes=classes,
            pool=pools,
            test=tests,
            origin="https://data.caltech.edu/records/mzrjq-6wc02",
            licence="CC BY 4.0",
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
        )
