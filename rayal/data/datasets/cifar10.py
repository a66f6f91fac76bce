"""CIFAR-10: 50,000 training and 10,000 test images, 32x32 colour, 10 classes."""

from typing import ClassVar

import numpy as np
from torchvision import datasets

from rayal.data.datasets.base import Dataset
from rayal.data.source import Source, Units, numbered
from rayal.errors import DataError


class Cifar10(Dataset):
    """The official python version, in its official order: train-00000 is row 0 of data_batch_1.

    Those files are pickles, which could run code; torchvision reads them, and only after their md5
    has been found to be the published one. The same images as Parquet: `datasets/parquet.py`.

    *Source*: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    reader: ClassVar[type[datasets.CIFAR10]] = datasets.CIFAR10
    layout: ClassVar[str] = "the folder cifar-10-batches-py of cifar-10-python.tar.gz"
    origin: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar.html"

    def files(self) -> list[str]:
        lists = (*self.reader.train_list, *self.reader.test_list)
        names = [name for name, _ in lists] + [self.reader.meta["filename"]]
        return [f"{self.reader.base_folder}/{name}" for name in names]

    def fetch(self) -> None:
        self.reader(self.folder, download=True)

    def source(self) -> Source:
        try:
            train, test = (self.reader(self.folder, train=train) for train in (True, False))
        except RuntimeError as error:
            raise DataError(
                f"{self.folder} does not hold {self.layout} as published (md5 differs); fetch"
                " it again, or read other files with dataset: parquet or image_folder"
            ) from error
        return Source(
            classes=train.classes,
            pool=_units("train", train),
            test=_units("test", test),
            origin=self.origin,
            licence="none stated; published for research",
        )


def _units(split: str, data: datasets.CIFAR10) -> Units:
    images = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))  # N H W C -> N C H W
    return numbered(split, data.targets, images)
