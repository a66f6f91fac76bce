"""Units of a pool as people give and see them: their labels, and their images."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rayal.data.card import Card
from rayal.data.images import Decoding, Stored
from rayal.data.masks import LabelValue, decode
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, quoted


class Labels(Protocol):
    """Labels by unit: a mapping, or a Series of pandas."""

    def items(self) -> Iterable[tuple[Any, object]]: ...


def by_unit(labels: Labels) -> dict[str, object]:
    """What was told, by unit; raises UsageError for what is no mapping, or has a unit twice."""
    if isinstance(labels, type) or not callable(getattr(labels, "items", None)):
        raise UsageError(f"tell({quoted(labels)}): give a dictionary, unit -> label")
    pairs = [*labels.items()]
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(unit for unit, _ in pairs).most_common(1)[0]
        raise UsageError(f"tell(): {quoted(twice)} is there several times; leave all but one out")
    return found


def shown(value: LabelValue, card: Card) -> str | NDArray[np.uint8]:
    """A label as people read it: the name of its class, or a mask H W."""
    if card.masks is None:
        return card.classes[int(value)]
    assert isinstance(value, bytes)
    return decode(value, card.masks, card.decoding or Decoding())


def images_of(store: Store, units: Iterable[str]) -> list[Stored]:
    """These units as networks see them, each H W C or, of volumes, D H W C, in the order given.

    Raises DataError for a unit that is not in the pool or cannot be decoded.
    """
    wanted = list(units)
    decoded = store.pool.decode(store.pool.take(wanted))
    if decoded.bad:
        unit, reason = next(iter(decoded.bad.items()))
        raise DataError(f"{quoted(unit)} cannot be decoded: {reason}; leave it out")
    sizes = [decoded.images.shape[2:]] * len(wanted) if decoded.sizes is None else decoded.sizes
    return [
        np.moveaxis(image, 0, -1)[tuple(map(slice, sides))]
        for image, sides in zip(decoded.images, sizes, strict=True)
    ]
