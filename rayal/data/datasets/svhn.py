"""Street View House Numbers: 73,257 training and 26,032 test digits, 32x32 colour, 10 classes."""

from typing import ClassVar

from torchvision import datasets

from rayal.data.datasets.base import Dataset
from rayal.data.source import Source, Units, numbered
from rayal.errors import DataError


class Svhn(Dataset):
    """Format 2 (cropped digits), without the `extra` set; digit 0, stored as 10, is class 0.

    *Source*: Netzer et al., Reading Digits in Natural Images, 2011.
    """

    layout: ClassVar[str] = "train_32x32.mat and test_32x32.mat"

    def files(self) -> list[str]:
        return [datasets.SVHN.split_list[split][1] for split in ("train", "test")]

    def fetch(self) -> None:
        for split in ("train", "test"):
            datasets.SVHN(self.folder, split, download=True)

    def source(self) -> Source:
        return Source(
            classes=[str(digit) for digit in range(10)],
            pool=self._units("train"),
            test=self._units("test"),
            origin="http://ufldl.stanford.edu/housenumbers/",
            licence="for non-commercial use only",
        )

    def _units(self, split: str) -> Units:
        try:
            data = datasets.SVHN(self.folder, split)
        except RuntimeError as error:
            raise DataError(
                f"{self.folder}/{split}_32x32.mat is not the official file (md5 differs); fetch it"
                " again"
            ) from error
        return numbered(split, data.labels, data.data)
