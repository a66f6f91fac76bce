"""Labels as people give them: what is kept, and what is none."""

import io

import numpy as np
import pytest
from PIL import Image

from rayal.data.card import Card
from rayal.errors import UsageError
from rayal.labeling.label_value import label_value
from rayal.testing.trainings import prepared


@pytest.fixture(scope="module")
def classes(cache: object) -> Card:
    """Of images of ten classes, renamed."""
    names = ("cat", "dog", "7", *"abcdefg")
    card = prepared(False).card
    return card.model_copy(update={"classes": names[: len(card.classes)]})


@pytest.fixture(scope="module")
def masks(cache: object) -> Card:
    return prepared(True).card


def test_a_class_has_a_name_and_a_number(classes: Card) -> None:
    """A class that is called 7 would be taken for the eighth."""
    assert [0, 1, 1, 1] == [label_value(each, classes) for each in ("cat", "dog", 1, np.int32(1))]
    assert all(type(label_value(each, classes)) is int for each in ("dog", 1, np.int32(1)))
    with pytest.raises(UsageError, match="'dgo' is no class; did you mean 'dog'"):
        label_value("dgo", classes)


def test_a_mask_is_kept_as_it_is(masks: Card) -> None:
    """A pixel of no class would become one, or a class another."""
    size = masks.image.height, masks.image.width
    mask = np.full(size, 255)
    mask[0] = len(masks.classes) - 1
    kept = label_value(mask, masks, size)

    assert isinstance(kept, bytes)
    np.testing.assert_array_equal(mask, np.array(Image.open(io.BytesIO(kept))))
    for wrong in (mask[1:], mask[None], mask.astype(float), mask.tolist(), 3):
        with pytest.raises(UsageError, match="is no mask; give class indices"):
            label_value(wrong, masks, size)
    for value in (-1, len(masks.classes), 256):
        with pytest.raises(UsageError, match=f"the mask has the value {value}; give classes"):
            label_value(np.full(size, value), masks, size)
