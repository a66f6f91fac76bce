"""PASCAL VOC 2012, segmentation: 1,464 training (10,582 augmented) and 1,449 validation images."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import ClassVar

from rayal.data.datasets._segmentation import SHOWN, Names, Pair, SegmentationDataset
from rayal.data.images import Sides
from rayal.data.masks import IGNORE, MaskDecoding
from rayal.data.source import file_identity
from rayal.errors import DataError, counted, quoted

OFFICIAL = "VOCdevkit/VOC2012"
LISTS, IMAGES, MASKS = "ImageSets/Segmentation", "JPEGImages", "SegmentationClass"
NAME = re.compile(r"[\w.-]*\w")


class Voc(SegmentationDataset):
    """`root/VOCdevkit/VOC2012`, as the official archive unpacks, or that folder itself.

    `pool` and `test` name lists in ImageSets/Segmentation. The 10,582 images with the labels of SBD
    that most papers train on are `pool: [train_aug]` with `masks: SegmentationClassAug`, where that
    list and those masks were added. A line is a name (2007_000032), or the paths of image and mask
    (/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png), whose name alone counts.

    Images have many sizes, up to 500x500. By default each lies in its own size on a canvas of one
    size; what is beside it is ignored.

    *Source*: Everingham et al., The PASCAL Visual Object Classes Challenge, 2015; Hariharan et al.,
    Semantic Contours from Inverse Detectors, 2011 (SBD).
    """

    layout: ClassVar[str] = f"{OFFICIAL}, with {IMAGES}, {MASKS} and {LISTS}"
    class_names: ClassVar[tuple[str, ...]] = (
        *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
        *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
        *("sheep", "sofa", "train", "tvmonitor"),
    )
    origin: ClassVar[str] = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    licence: ClassVar[str] = "terms of Flickr, for research"

    pool: Names = ("train",)
    """Lists of the pool, in ImageSets/Segmentation."""
    test: Names = ("val",)
    """Lists of the test images, in ImageSets/Segmentation."""
    masks: str = MASKS
    """Folder of the masks of the pool."""
    test_masks: str = MASKS
    """Folder of the masks of the test images."""
    canvas: Sides | None = (512, 512)
    """Height and width (pixels) of the area at whose top left each image lies as it is; null: set
    shape or size."""

    def files(self) -> list[str]:
        lists = [self._list(name) for name in (*self.pool, *self.test)]
        pairs = [pair for parts in (self.pool, self.test) for pair in self.pairs(parts, ())]
        named = [*(pair.image for pair in pairs), *(pair.mask for pair in pairs)]
        _check_there(self.folder, named)
        return [*lists, *named]

    def pairs(self, parts: Sequence[str], files: Sequence[str]) -> list[Pair]:
        """As the lists say; the files are those that they name."""
        names = [name for part in parts for name in _names(self.folder / self._list(part))]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(
                f"{' and '.join(parts)}: {counted(len(twice), 'name is', 'names are')} listed"
                " more than once, first"
                f" {', '.join(twice[:SHOWN])}; leave one of each"
            )
        masks = self.masks if tuple(parts) == self.pool else self.test_masks
        base = self._base
        return [
            Pair(name, f"{base}{IMAGES}/{name}.jpg", f"{base}{masks}/{name}.png") for name in names
        ]

    def identity(self, path: str) -> str:
        return file_identity(path) if path.endswith(".txt") else super().identity(path)

    @property
    def mask_decoding(self) -> MaskDecoding:
        numbers = range(len(self.class_names))
        return MaskDecoding(values={**{number: number for number in numbers}, IGNORE: IGNORE})

    @property
    def _base(self) -> str:
        """The way from the folder of the originals to that of VOC2012."""
        return f"{OFFICIAL}/" if (self.folder / OFFICIAL).exists() else ""

    def _list(self, name: str) -> str:
        return f"{self._base}{LISTS}/{name}.txt"


def _names(file: Path) -> Iterator[str]:
    """The images in a list; blank lines and spaces around do not count."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no list of images: {error}; restore it") from error
    for number, line in enumerate(lines, 1):
        if words := line.split():
            yield _name(words, f"{file}, line {number}")


def _name(words: Sequence[str], place: str) -> str:
    """The name that a line stands for: one word, or the paths of an image and its mask."""
    names = {PurePosixPath(word).name.removesuffix(".jpg").removesuffix(".png") for word in words}
    name = names.pop()
    if names or len(words) > 2 or not NAME.fullmatch(name):
        raise DataError(
            f"{place}: {quoted(' '.join(words))} is neither a name such as 2007_000032 nor the"
            " paths of an image and its mask; correct the list"
        )
    return name


def _check_there(root: Path, paths: Sequence[str]) -> None:
    """Raises DataError naming files that are not there; one look into each folder."""
    missing = list[str]()
    for folder, inside in groupby(paths, os.path.dirname):
        there = set(os.listdir(root / folder))
        missing += [path for path in inside if os.path.basename(path) not in there]
    if missing:
        raise DataError(
            f"{root}: {len(missing)} files that the lists name are missing, first"
            f" {', '.join(missing[:SHOWN])}; add them, or take them out of the lists"
        )
