"""Fashion-MNIST: 60,000 training and 10,000 test images, 28x28 grey, 10 classes."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from rayal.data.datasets.base import Dataset
from rayal.data.source import Source, Units, numbered
from rayal.errors import DataError

PREFIX = {"train": "train", "test": "t10k"}


class FashionMnist(Dataset):
    """The four official idx files, as they are distributed (.gz).

    *Source*: Xiao et al., Fashion-MNIST, 2017.
    """

    layout: ClassVar[str] = "the folder FashionMNIST/raw with the four official .gz files"

    def files(self) -> list[str]:
        return [
            self._file(split, kind) for split in PREFIX for kind in ("images-idx3", "labels-idx1")
        ]

    def fetch(self) -> None:
        datasets.FashionMNIST(self.folder, download=True)

    def source(self) -> Source:
        return Source(
            classes=datasets.FashionMNIST.classes,
            pool=self._units("train"),
            test=self._units("test"),
            origin="https://github.com/zalandoresearch/fashion-mnist",
            licence="MIT",
        )

    def _units(self, split: str) -> Units:
        images = read_idx(self.folder / self._file(split, "images-idx3"))  # N H W
        labels = read_idx(self.folder / self._file(split, "labels-idx1"))
        if images.ndim != 3 or len(images) != len(labels):
            raise DataError(
                f"{self.folder}: {split} has images {images.shape} and labels {labels.shape};"
                " fetch the files again"
            )
        return numbered(split, labels.tolist(), images[:, None])

    @staticmethod
    def _file(split: str, kind: str) -> str:
        return f"FashionMNIST/raw/{PREFIX[split]}-{kind}-ubyte.gz"


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in a gzipped idx file of bytes; raises DataError when it is anything else.

    Layout: two zeros, 8 for bytes, the rank, the shape as big-endian uint32, the bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        zero, kind, rank = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{rank}I", data, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path} is not a gzipped idx file: {error}; fetch it again") from error
    body = data[4 + 4 * rank :]
    if (zero, kind) != (0, 8) or len(body) != math.prod(shape):
        raise DataError(f"{path}: {len(body)} bytes do not fill {shape}; fetch it again")
    return np.frombuffer(body, np.uint8).reshape(shape)
