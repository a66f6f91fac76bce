"""The card of a prepared dataset: what it holds, as `card.json` in its folder."""

import hashlib
import json
import math
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rayal.data.images import Decoding
from rayal.data.masks import MaskDecoding
from rayal.errors import DataError, StorageError
from rayal.storage.folder import Folder, Json

SplitName = Literal["pool", "test"]
Encoding = Literal["raw", "bytes", "uri"]
Numbers = Literal["uint8", "float32", "float16"]
"""What images are made of: pixels of 8 bits, numbers of a measurement, or the features in a vector.
"""
Shape = tuple[int, ...]
"""C H W of pictures, C D H W of volumes, C of vectors."""
MeanStd = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels in [0, 1] or of the numbers as stored."""

CARD = "card.json"
FORMAT: Literal[1] = 1
"""Layout of a prepared folder; part of every fingerprint, so that a new layout is prepared anew."""


def _is_none(value: object) -> bool:
    return value is None


def _is_uint8(value: object) -> bool:
    return value == "uint8"


class ImageSpec(BaseModel):
    """Shape and normalisation of the images that networks see: pictures, H W, volumes, D H W, or
    vectors of features, whose numbers alone are float16; their height and width are 1.

    Whoever needs the number of sides takes it from `sides`, and the kind of numbers from `numbers`.
    """

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    channels: int
    # Left out for pictures of pixels, so that what was identified before volumes were still is.
    depth: int | None = Field(default=None, exclude_if=_is_none)
    """Null for pictures."""
    height: int
    width: int
    numbers: Numbers = Field(default="uint8", exclude_if=_is_uint8)
    mean: tuple[float, ...]
    """Per channel, from the training pool only: of pixels in [0, 1], of other numbers as stored."""
    std: tuple[float, ...]
    """Like mean; 1 for a channel that is constant."""

    @classmethod
    def of(
        cls,
        shape: Shape,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        numbers: Numbers = "uint8",
    ) -> "ImageSpec":
        """Of images of this shape: C H W, C D H W, or C."""
        channels, *depth, height, width = (*shape, 1, 1) if len(shape) == 1 else shape
        return cls(
            channels=channels,
            depth=depth[0] if depth else None,
            height=height,
            width=width,
            numbers=numbers,
            mean=mean,
            std=std,
        )

    @property
    def sides(self) -> tuple[int, ...]:
        """H W of pictures, D H W of volumes, nothing of vectors."""
        if self.numbers == "float16":
            return ()
        return (*(() if self.depth is None else (self.depth,)), self.height, self.width)

    @property
    def shape(self) -> Shape:
        """C, then the sides."""
        return self.channels, *self.sides

    @property
    def axes(self) -> str:
        """What the numbers of `shape` are called, for messages: `C, H, W`."""
        return ", ".join(("C", *"DHW"[3 - len(self.sides) :]))

    @cached_property
    def moments(self) -> NDArray[np.float32]:
        """`mean` and `std`, 2 C."""
        return np.array([self.mean, self.std], np.float32)

    @property
    def scale(self) -> float:
        """What a stored number is divided by before `mean` and `std` are of use."""
        return 255.0 if self.numbers == "uint8" else 1.0

    @property
    def byte_count(self) -> int:
        """Of one image as stored."""
        return math.prod(self.shape) * np.dtype(self.numbers).itemsize


class Card(BaseModel):
    """What a prepared dataset holds; `card.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal[1] = FORMAT
    name: str
    fingerprint: str
    """sha256 of the source files' identity and of the options that shape the content."""
    classes: tuple[str, ...]
    image: ImageSpec
    encoding: Encoding
    """`raw` pixels (or numbers), encoded `bytes`, or the `uri` of a file that stays where it is."""
    decoding: Decoding | None
    """How bytes and files become pixels; null for raw."""
    masks: MaskDecoding | None = None
    """How original mask files become classes; null where a label is the class of an image."""
    pool: int
    """Images in the pool, bad ones included."""
    test: int
    parts: dict[str, int]
    """Rows of each image file, in the order of the split."""
    group_rows: int
    """Rows of each row group but the last of a file."""
    bad: dict[str, str]
    """Id -> reason of the images of both splits that could not be decoded."""
    sizes: dict[str, int]
    """`HxW` (or `DxHxW`) as stored -> images of both splits, the 20 most frequent; empty when not
    decoded."""
    duplicates: dict[str, int]
    """Images with the content of an earlier one, see `copies`: of the `pool`; test images `across`
    to it."""
    class_counts: dict[str, tuple[int, ...]]
    """Split -> images per class; of masks, pixels per class as networks see them, of the images
    that could be decoded; empty where nobody looked at the masks, and of a pool without masks."""
    empty_masks: int = 0
    """Masks of both splits without a pixel of any class."""
    files: dict[str, str]
    """sha256 of each file of the store."""
    origin: str
    licence: str

    def decides(self) -> Json:
        """What a run that has begun with this store goes on with: not where its bytes lie, which
        differs when the store is prepared anew."""
        rest = [self.encoding, self.pool, self.test, sorted(self.bad)]
        return {
            **({} if self.tested else {"tested": False}),  # left out as in older runs
            "image": self.image.model_dump(mode="json"),
            "classes": list(self.classes),
            "content": hashlib.sha256(json.dumps(rest).encode()).hexdigest(),
        }

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "Card":
        """The same images, normalised by these instead."""
        image = self.image.model_copy(update={"mean": mean, "std": std})
        return self.model_copy(update={"image": image})

    @property
    def labeled(self) -> bool:
        """Whether the pool has labels, which only a simulation may look at."""
        counts = self.class_counts.get("pool", (1,))
        return any(counts) if self.masks is None else len(counts) > 0

    @property
    def tested(self) -> bool:
        """Whether there are test images, which alone tell how good a model is."""
        return self.test > 0

    def parts_of(self, split: SplitName) -> dict[str, int]:
        """Rows of each image file of one split, in its order."""
        return {file: rows for file, rows in self.parts.items() if file.startswith(f"{split}/")}


def read_card(url: str) -> Card:
    """The card of a store; raises DataError when there is none, it is damaged, or another rayal
    wrote it."""
    try:
        return Card.model_validate(Folder(url).read_sealed(CARD, older=True))
    except (StorageError, ValidationError) as error:
        raise DataError(
            f"{url} is not a prepared dataset of this rayal: {error}; {prepared_anew(url)}"
        ) from error


def write_card(folder: Folder, card: Card) -> None:
    """What `read_card` reads, with a seal."""
    folder.write_sealed(CARD, card.model_dump(mode="json"))


def prepared_anew(url: str) -> str:
    """The way out for a store of which something is damaged or missing."""
    return f"delete the folder {url} and start again: it is prepared anew"
