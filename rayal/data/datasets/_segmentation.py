"""The contract of a dataset of images and masks."""

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from rayal.data.datasets.base import EncodedDataset
from rayal.data.listing import Addresses
from rayal.data.masks import MaskDecoding
from rayal.data.source import Source, Units
from rayal.data.tasks.base import TaskName
from rayal.errors import DataError, counted

SHOWN = 3  # names in a message

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Pair(NamedTuple):
    """An image and its mask: paths below the folder of the originals."""

    id: str
    image: str
    mask: str


class SegmentationDataset(EncodedDataset):
    """Images of which every pixel has a class, in a mask of the same size.

    Masks follow the geometry of their images, so a centre of a larger `resize` is refused. Where
    nothing is verified, files are identified by name and size only, like those of ImageNet; that
    masks have the sizes of their images is read from the headers of both, and of the pool and of
    the test images the first mask is decoded.
    """

    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    class_names: ClassVar[tuple[str, ...]]
    """In the order of their indices."""
    origin: ClassVar[str]
    licence: ClassVar[str]

    pool: Names
    """Parts of the originals that are the pool."""
    test: Names
    """Parts that are the test images."""

    @model_validator(mode="after")
    def _masks_can_follow(self) -> Self:
        if self.resize not in (None, self.size):
            raise ValueError("masks follow no centre of a larger resize; set shape, or size alone")
        if both := sorted({*self.pool} & {*self.test}):
            raise ValueError(
                f"pool and test share {both}, whose images would be trained on and judged; take it"
                " out of one of them"
            )
        return self

    @property
    @abstractmethod
    def mask_decoding(self) -> MaskDecoding:
        """What the values in the mask files mean."""

    @property
    def naming(self) -> str:
        """What to set where a mask has a value that `mask_decoding` does not know, for the message;
        nothing where no field would help."""
        return ""

    @abstractmethod
    def pairs(self, parts: Sequence[str], files: Sequence[str]) -> list[Pair]:
        """The images of some parts with their masks, in a fixed order, out of the listed files."""

    def identity(self, path: str) -> str:
        return super().identity(path) if self.verify else str(os.stat(path).st_size)

    def source(self) -> Source:
        return self.source_of(list(self.files()))

    def source_of(self, files: Sequence[str]) -> Source:
        pool, test = (
            units_of_pairs(self.folder, self.pairs(parts, files))
            for parts in (self.pool, self.test)
        )
        return self.described(pool, test)

    def described(self, pool: Units, test: Units) -> Source:
        """The source of these units, with what this dataset says of all of them."""
        return Source(
            classes=self.class_names,
            pool=pool,
            test=test,
            origin=self.origin,
            licence=self.licence,
            encoding=self.encoding,
            decoding=self.decoding,
            verify=self.verify,
            masks=self.mask_decoding,
            naming=self.naming,
        )


def paired(images: Mapping[str, str], masks: Mapping[str, str]) -> list[Pair]:
    """Images and masks under the same key, whose last part is the id; in the order of the images.

    Raises DataError naming images without a mask and masks without an image.
    """
    alone = [
        f"{counted(len(paths), *what)}, first {', '.join(paths[:SHOWN])}"
        for what, mine, others in (
            (("image has no mask", "images have no mask"), images, masks),
            (("mask has no image", "masks have no image"), masks, images),
        )
        if (paths := [path for key, path in mine.items() if key not in others])
    ]
    if alone:
        raise DataError(f"{'; '.join(alone)}; add what is missing, or take these away")
    return [Pair(PurePosixPath(key).name, path, masks[key]) for key, path in images.items()]


def keyed(paths: Iterable[str], inside: str, ending: str | None = None) -> dict[str, str]:
    """Paths by what they are called below a folder, without `ending` (None: without suffix).

    Raises DataError for a path with another ending, and for two that are called alike.
    """
    found = dict[str, str]()
    for path in paths:
        name = path[len(inside) + 1 :]
        key = os.path.splitext(name)[0] if ending is None else name.removesuffix(ending)
        if key == name:
            raise DataError(f"{path} is not called ...{ending}; rename it, or take it away")
        if key in found:
            raise DataError(f"{found[key]} and {path} are called alike; take one of them away")
        found[key] = path
    return found


def units_of_pairs(root: Path, pairs: Sequence[Pair]) -> Units:
    """The images of some pairs, their masks the labels."""
    return Units(
        [pair.id for pair in pairs],
        Addresses(root, [pair.mask for pair in pairs]),
        Addresses(root, [pair.image for pair in pairs]),
    )
