"""A label as people give it, made into what is kept of it."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, LabelValue, MaskDecoding, arrange, encode
from rayal.errors import UsageError, quoted
from rayal.parts import suggest


class LabelKind(Protocol):
    """What labels are, as the card of a dataset says it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of their indices."""

    @property
    def masks(self) -> MaskDecoding | None:
        """None where a label is the class of an image."""

    @property
    def decoding(self) -> Decoding | None:
        """How images become what networks see, which masks follow; None: they are that already."""


class Classes(NamedTuple):
    """Labels that are classes of images, where no dataset is at hand."""

    classes: tuple[str, ...]
    masks: None = None
    decoding: None = None


def label_value(label: object, card: LabelKind, size: tuple[int, int] | None = None) -> LabelValue:
    """The class of a name or index; or, of a dataset with masks, the mask in rayal's own coding.

    `size` is H W that a mask has to have. Raises UsageError for what is no label of this dataset.
    """
    return class_index(label, card.classes) if card.masks is None else _mask(label, card, size)


def class_index(label: object, classes: tuple[str, ...]) -> int:
    """The class of a name or index; raises UsageError for what is none."""
    label = _plain(label)
    if isinstance(label, str):
        if label not in classes:
            raise UsageError(f"{quoted(label)} is no class; {suggest(label, classes)}")
        return classes.index(label)
    if isinstance(label, bool) or not isinstance(label, int):
        raise UsageError(
            f"{quoted(label)} is no label; give a class, its index, or None for an image that"
            " cannot be labeled"
        )
    if not 0 <= label < len(classes):
        raise UsageError(
            f"{label} is no class index; give one of 0 to {len(classes) - 1}, or the class's name"
        )
    return label


def _plain(label: Any) -> object:
    """One number of NumPy or torch as a number of Python; anything else as it is."""
    return label.item() if getattr(label, "ndim", None) == 0 else label


def _mask(label: object, card: LabelKind, size: tuple[int, int] | None) -> bytes:
    if not isinstance(label, np.ndarray) or label.dtype.kind not in "iu" or label.shape != size:
        what = (
            f"an array of shape {label.shape} and {label.dtype}"
            if isinstance(label, np.ndarray)
            else quoted(label)
        )
        raise UsageError(
            f"{what} is no mask; give class indices as whole numbers in an array of shape {size},"
            " or None for an image that cannot be labeled"
        )
    strange = {*np.unique(label).tolist()} - {*range(len(card.classes)), IGNORE}
    if strange:
        raise UsageError(
            f"the mask has the value {min(strange)}; give classes as 0 to {len(card.classes) - 1},"
            f" and {IGNORE} to pixels of none"
        )
    return encode(arrange(label.astype(np.uint8), card.decoding or Decoding()))
