"""Units that are regions of images: `<image>/<number>`, numbers from 0 in the oracle's order."""

from collections.abc import Container
from typing import NamedTuple


class UnitName(NamedTuple):
    """Where a unit lies."""

    image: str
    number: int | None
    """Of its region; None where the unit is the whole image."""


def parse_unit(unit: str, images: Container[str]) -> UnitName | None:
    """Where a unit lies among `images`; None for one that lies nowhere.

    Ids of images may hold slashes too: where `a/0` is an image, it is that.
    """
    return UnitName(unit, None) if unit in images else parse_region(unit, images)


def parse_region(unit: str, images: Container[str]) -> UnitName | None:
    """The place that the unit names if it is a region of one of `images`; None if it is none."""
    image, _, number = unit.rpartition("/")
    if image in images and number.isdecimal() and str(int(number)) == number:
        return UnitName(image, int(number))
    return None


def region_id(image: str, number: int) -> str:
    """The unit that is this region of an image."""
    return f"{image}/{number}"
