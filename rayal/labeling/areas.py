"""What of its image a unit is: all of it, or a region, which alone is shown and counts."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rayal.data.geometry import restored
from rayal.data.masks import IGNORE, LabelValue, decoded, encode
from rayal.data.store import Store
from rayal.errors import DataError, counted, quoted
from rayal.labeling.clicks import Region
from rayal.labeling.pictures import stored_images
from rayal.labeling.regions import UnitName, parse_unit

Area = NDArray[np.bool_]
"""H W: the pixels of a unit."""
Regions = Callable[[Store, Sequence[str]], dict[str, list[Region]]]
"""Of images, by number, as `Oracle.regions` has them."""


class Areas:
    """Those of a store's units, with the images that they lie in."""

    def __init__(self, store: Store, regions: Regions | None = None) -> None:
        """`regions` None: every unit is an image."""
        self.store, self.regions = store, regions

    def place(self, unit: str) -> UnitName:
        """Where it lies; raises DataError for a unit that lies nowhere."""
        place = parse_unit(unit, self._images)
        if place is None or (place.number is not None and self.regions is None):
            raise DataError(
                f"{quoted(unit)} is in no image of the pool of {self.store.url}; use the dataset"
                " that it comes from"
            )
        return place

    def seen(self, unit: str) -> Area | None:
        """In the image that networks see; None where it is all of it."""
        image, number = self.place(unit)
        if number is None or self.regions is None:
            return None
        regions = self.regions(self.store, [image])[image]
        if number >= len(regions):
            raise DataError(
                f"{quoted(unit)}: this image has {counted(len(regions), 'region')}, numbered from"
                " 0; the options of the oracle must be those that it was chosen with"
            )
        return regions[number].mask()

    def shown(self, unit: str, size: tuple[int, int]) -> Area | None:
        """In the image that people see, H W `size`; None where it is all of it."""
        seen = self.seen(unit)
        if seen is None:
            return None
        mask = restored(seen.astype(np.uint8), size, self.store.card.decoding)
        if mask is None:
            raise DataError(
                f"{quoted(unit)}: its image is {size} (H, W), and was of another size when the"
                " dataset was prepared; restore the file"
            )
        part: Area = mask == 1
        return part

    def cut(self, unit: str, label: LabelValue | None) -> LabelValue | None:
        """Of a mask what lies in the unit, the rest void; any other label as it is."""
        seen = self.seen(unit) if isinstance(label, bytes) else None
        if seen is None:
            return label
        assert isinstance(label, bytes)
        return encode(np.where(seen, decoded(label), IGNORE).astype(np.uint8))

    def image(self, unit: str) -> str:
        """The image that it lies in; raises DataError for a unit that lies nowhere."""
        return self.place(unit).image

    def stored(self, images: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Each image as the store has it."""
        return stored_images(self.store, images)

    @cached_property
    def _images(self) -> frozenset[str]:
        return frozenset(self.store.pool.ids())
