"""Your own images with masks: one folder per split, in it the images and their masks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Self

from pydantic import Field, NonNegativeInt, model_validator

from rayal.data.datasets._segmentation import Names, Pair, SegmentationDataset, keyed, paired
from rayal.data.listing import list_images
from rayal.data.masks import IGNORE, MaskDecoding
from rayal.data.source import Source, Units
from rayal.errors import counted

SPLIT = "*"
"""Stands for the name of a split in the names of its folders."""

Folder = Annotated[str, Field(pattern=r"^[^*]*\*[^*]*$")]


class MaskFolder(SegmentationDataset):
    """`root/<split>/images/.../x.jpg` with masks `root/<split>/masks/.../x.png`: your own.

    The image's path below `root` is the id. A mask is as large as its image and has one number a
    pixel, grey or palette: the index of a class, or what `values` say. Other layouts are told by
    `images` and `masks`, where `*` stands for the split: `images: '*'` and `masks: '*annot'`, or
    `images: 'images/*'` and `masks: 'masks/*'`.
    """

    layout: ClassVar[str] = "a folder for each split and in it images/ and masks/"
    class_names: ClassVar[tuple[str, ...]] = ()
    origin: ClassVar[str] = "a folder of images and masks"
    licence: ClassVar[str] = "not stated"

    classes: Annotated[tuple[str, ...], Field(min_length=2, examples=[["road", "car"]])]
    """What the classes are called, in the order of their indices."""
    pool: Names = ("train",)
    """Splits that are the pool."""
    test: Names = ("test",)
    """Splits that are the test images."""
    images: Folder = "*/images"
    """Folder of the images of a split, below root; `*` is its name."""
    masks: Folder = "*/masks"
    """Folder of the masks of a split, below root."""
    values: tuple[NonNegativeInt, ...] | None = None
    """The number in the masks that stands for each class; null: its index."""
    ignore: tuple[NonNegativeInt, ...] = (IGNORE,)
    """Numbers in the masks that are no class: never trained on, never judged."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""

    @model_validator(mode="after")
    def _each_value_once(self) -> Self:
        values = self._values
        if len(values) != len(self.classes):
            raise ValueError(
                f"{counted(len(values), 'value')} for"
                f" {counted(len(self.classes), 'class', 'classes')}; give one for each"
            )
        numbers = [*values, *self.ignore]
        if twice := sorted({each for each in numbers if numbers.count(each) > 1}):
            raise ValueError(
                f"{twice[0]} stands for two things in values and ignore; take it out of one, or"
                " set ignore: []"
            )
        return self

    def files(self) -> list[str]:
        return [
            path
            for split in (*self.pool, *self.test)
            for folder in (self.images, self.masks)
            for path in list_images(self.folder, _of(split, folder), self.follow_links)
        ]

    def pairs(self, parts: Sequence[str], files: Sequence[str]) -> list[Pair]:
        return [
            pair._replace(id=pair.image)
            for part in parts
            for pair in paired(
                *(_keyed(_of(part, each), files) for each in (self.images, self.masks))
            )
        ]

    def described(self, pool: Units, test: Units) -> Source:
        return replace(super().described(pool, test), classes=self.classes)

    @property
    def mask_decoding(self) -> MaskDecoding:
        known = {value: number for number, value in enumerate(self._values)}
        return MaskDecoding(values={**known, **dict.fromkeys(self.ignore, IGNORE)})

    @property
    def naming(self) -> str:
        more = "dataset.classes" + (" and dataset.values" if self.values is not None else "")
        return f"add such a value to dataset.ignore, or its class to {more}"

    @property
    def _values(self) -> tuple[int, ...]:
        return tuple(range(len(self.classes))) if self.values is None else self.values


def _of(split: str, folder: str) -> str:
    return folder.replace(SPLIT, split)


def _keyed(folder: str, files: Sequence[str]) -> dict[str, str]:
    return keyed((path for path in files if path.startswith(f"{folder}/")), folder)
