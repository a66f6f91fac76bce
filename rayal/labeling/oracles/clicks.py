"""Answers with polygons drawn around the true regions, each paid for by its vertices.

Source: Mittal et al., "Parting with Illusions about Deep Active Learning" (2019); see
rayal/labeling/clicks.py for what the paper leaves open.

A unit is an image, answered with its whole approximated mask, or one region of it: `<image>/0` is
the image's largest region, `<image>/1` the next. An answer for a region is its polygon; the rest of
the image is ignored. (Ids of images may hold slashes too; where `a/0` is an image, it is that.)
An image without regions costs nothing; its mask is all `background`, or ignored.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from rayal.data.card import Card
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, BadMask, Mask, decode, encode
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, counted, quoted
from rayal.labeling.budget import CostUnit
from rayal.labeling.clicks import ClickModel, Region, approximate, paint
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.regions import parse_unit
from rayal.storage.folder import Folder

CHUNK = 256  # labels in memory at a time
ROOM = 500_000  # regions remembered by a process, about half a kilobyte each

T = TypeVar("T")

Places = dict[str, list[tuple[str, int | None]]]
"""Image -> the units asked that lie in it, each with its region's number, or None for all of it."""

Key = tuple[str, ClickModel, str]
"""Store, options, image."""


class Clicks(ClickModel, Oracle):
    """Masks as somebody draws them with polygons; costs are clicks."""

    simulated: ClassVar[bool] = True
    unit: ClassVar[CostUnit] = "clicks"

    def check(self, card: Card) -> None:
        if self.background is not None and self.background >= len(card.classes):
            raise UsageError(
                f"oracle.background: {self.background} is no class of {card.name}, which has 0 to"
                f" {len(card.classes) - 1}; set it to one of them, or to null"
            )

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        places, answers = _places(store, ids), {}
        for image, mask in _masks(store, list(places)):
            regions = self._approximated(store, image, mask)
            for unit, number in places[image]:
                bought = _bought(regions, number, unit)
                drawn = self._drawn(mask, bought, whole=number is None)
                cost = float(sum(region.clicks for region in bought))
                answers[unit] = Label(encode(drawn), cost)
        return {unit: answers[unit] for unit in ids}

    def costs(self, store: Store, ids: Sequence[str]) -> NDArray[np.float64]:
        """Clicks of each unit, known beforehand as only a simulation can."""
        places = _places(store, ids)
        new = [image for image in places if _memory.clicks(self._key(store, image)) is None]
        for image, mask in _masks(store, new):
            self._approximated(store, image, mask)
        costs = {
            unit: sum(_bought(_memory.clicks(self._key(store, image)) or (), number, unit))
            for image, units in places.items()
            for unit, number in units
        }
        return np.array([costs[unit] for unit in ids], np.float64)

    def regions(self, store: Store, ids: Sequence[str]) -> dict[str, list[Region]]:
        """Image -> its regions; number i is the unit `<image>/<i>`."""
        found = {image: _memory.regions(self._key(store, image)) for image in ids}
        places = _places(store, [image for image, known in found.items() if known is None])
        for image, units in places.items():
            for unit, number in units:
                if number is not None:
                    raise DataError(f"{quoted(unit)} is a region; ask for those of {quoted(image)}")
        for image, mask in _masks(store, list(places)):
            found[image] = self._approximated(store, image, mask)
        return {image: list(regions or ()) for image, regions in found.items()}

    def _approximated(self, store: Store, image: str, mask: Mask) -> tuple[Region, ...]:
        """The regions of an image, computed where they are not remembered."""
        key = self._key(store, image)
        regions = _memory.regions(key)
        if regions is None:
            regions = tuple(approximate(mask, self))
            _memory.put(key, regions)
        return regions

    def _key(self, store: Store, image: str) -> Key:
        return store.card.fingerprint, self, image

    def _drawn(self, mask: Mask, bought: Sequence[Region], *, whole: bool) -> Mask:
        """What is known of a mask when these regions are, or all (`whole`)."""
        rest = self.background if whole and self.background is not None else IGNORE
        drawn = paint(bought, mask.shape, rest)
        drawn[(mask == IGNORE) & ((drawn == rest) | (self.void == "kept"))] = IGNORE
        return drawn


class _Memory:
    """The clicks of every region computed, and the regions that were last: the first in goes first
    when there is no more room."""

    def __init__(self) -> None:
        self._clicks: dict[Key, tuple[int, ...]] = {}
        self._regions: dict[Key, tuple[Region, ...]] = {}
        self._size = 0

    def clicks(self, key: Key) -> tuple[int, ...] | None:
        return self._clicks.get(key)

    def regions(self, key: Key) -> tuple[Region, ...] | None:
        return self._regions.get(key)

    def put(self, key: Key, regions: tuple[Region, ...]) -> None:
        self._clicks[key] = tuple(region.clicks for region in regions)
        self._regions[key] = regions
        self._size += 1 + len(regions)
        while self._size > ROOM and len(self._regions) > 1:
            self._size -= 1 + len(self._regions.pop(next(iter(self._regions))))


_memory = _Memory()


def _places(store: Store, ids: Sequence[str]) -> Places:
    """Where units lie; raises DataError for those that lie nowhere."""
    images = set(store.pool.ids())
    places: Places = {}
    for unit in dict.fromkeys(ids):
        place = parse_unit(unit, images)
        if place is None:
            raise DataError(
                f"{quoted(unit)} is neither an image of the pool of {store.url} nor a region of one"
                " (<image>/<number>); use the dataset that it comes from"
            )
        places.setdefault(place.image, []).append((unit, place.number))
    return places


def _bought(regions: tuple[T, ...], number: int | None, unit: str) -> tuple[T, ...]:
    """What belongs to the unit, of something of every region of its image."""
    if number is None:
        return regions
    if number >= len(regions):
        raise DataError(
            f"{quoted(unit)}: this image has {counted(len(regions), 'region')}, numbered from"
            " 0; the options"
            " of oracle clicks must be those that the region was chosen with"
        )
    return regions[number : number + 1]


def _masks(store: Store, images: Sequence[str]) -> Iterator[tuple[str, Mask]]:
    """The true masks, as networks see them; raises DataError for one that is not usable."""
    card = store.card
    if card.masks is None:
        raise UsageError(
            f"oracle clicks needs masks, and the labels of {card.name} are classes of images;"
            " set oracle to simulated"
        )
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        labels = store.labels("pool", chunk)
        for image in chunk:
            label = labels.get(image)
            if not isinstance(label, bytes | str):
                raise DataError(f"image {quoted(image)} of {store.url} has no mask; leave it out")
            try:
                yield image, decode(label, card.masks, card.decoding or Decoding())
            except BadMask as error:
                raise DataError(f"mask of {quoted(image)} of {store.url}: {error}") from error
