"""What a look into a folder of images tells: their sizes, and a budget that fits their number."""

import io
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from PIL import Image

from rayal.data import picture
from rayal.data.images import FORMATS
from rayal.errors import UsageError

T = TypeVar("T")

LOOKS = 100
"""Images that are looked at, spread over all."""
SMALLEST, LARGEST, STEP = 16, 128, 8
"""Sides in pixels of what a first run is fast with; networks halve theirs three times."""
POOLS = ("train", "training")
TESTS = ("test", "testing", "val", "valid", "validation", "dev")
"""What splits are called, the likeliest first."""
STEPS = 5
"""Cycles after the first."""
WIDTH = 90
"""Signs of a line that lists something."""


class Size(NamedTuple):
    """The size of a usual image, in pixels."""

    height: int
    width: int

    @property
    def side(self) -> int:
        """Of a square that shows all that its shorter side has, as far as a first run can be."""
        return max(SMALLEST, min(LARGEST, math.ceil(min(self) / STEP) * STEP))

    @property
    def shape(self) -> list[int]:
        """Height and width in its proportions, in multiples of 8."""
        scale = min(1.0, LARGEST / min(self))
        return [max(STEP, round(scale * side / STEP) * STEP) for side in self]

    def __str__(self) -> str:
        return f"These are about {self.width} x {self.height}."


class Found(NamedTuple):
    """What was found."""

    values: dict[str, str]
    """What the template wants to know, as YAML or words."""
    pool: int
    """Images to choose from."""
    classes: int = 1
    told: str = ""
    """All of it, in words."""

    def budget(self) -> dict[str, str]:
        """A budget: a twentieth of the pool in each cycle, in a round number, and at first enough
        for two of each class, where the pool has them."""
        step = max(_round(self.pool // 20), min(10, self.pool // 6), 1)
        first = max(1, min(max(step, 2 * self.classes), self.pool // 2))
        total = min(self.pool, first + STEPS * step)
        return {"initial": str(first), "per_cycle": str(step), "total": str(total)}


def model_for(side: int) -> str:
    """A network that fits squares of this side."""
    return "small_cnn" if side <= 32 else "resnet18"


def split_of(names: Collection[str], known: Sequence[str]) -> str | None:
    """The likeliest of the known names of a split that is there."""
    return next((name for name in known if name in names), None)


def folders_in(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted; UsageError where there is no such folder."""
    if root.is_file():
        raise UsageError(f"root {root} is a file; give the folder that it is in, {root.parent}")
    if not root.is_dir():
        raise UsageError(f"root {root}: there is no such folder; check the path")
    return sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def spread(items: Sequence[T], count: int = LOOKS) -> Sequence[T]:
    """At most so many, evenly from all."""
    return items[:: max(1, math.ceil(len(items) / count))]


def usual_size(encoded: Iterable[bytes]) -> Size | None:
    """The median height and width of images; None where none of them can be read."""
    sizes = [size for data in encoded if (size := _size(data)) is not None]
    if not sizes:
        return None
    heights, widths = zip(*sizes, strict=True)
    return Size(round(median(heights)), round(median(widths)))


def _size(data: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return picture.upright_size(image)
    except Exception:  # what is no image is told of, with its name, when the data is prepared
        return None


def _round(number: int) -> int:
    """The number with its first digit alone, and at most 500."""
    if number < 10:
        return number
    unit: int = 10 ** (len(str(number)) - 1)
    return min(number // unit * unit, 500)
