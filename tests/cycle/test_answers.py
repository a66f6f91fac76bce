"""Answers of oracles, counted."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from rayal.cycle.answers import TOGETHER, class_counts
from rayal.data.card import Card, ImageSpec
from rayal.data.masks import IGNORE, MaskDecoding, encode
from rayal.data.tasks.classification import Classification
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import DataError
from rayal.labeling.oracles.base import Label


def card(masks: bool) -> Card:
    """Of three classes and images of 2 x 3."""
    return Card(
        name="d",
        fingerprint="f",
        classes=("a", "b", "c"),
        image=ImageSpec.of((1, 2, 3), (0.5,), (0.5,), "uint8"),
        encoding="raw",
        decoding=None,
        masks=MaskDecoding(values={0: 0, 1: 1, 2: 2}) if masks else None,
        pool=4,
        test=0,
        parts={},
        group_rows=256,
        bad={},
        sizes={},
        duplicates={},
        class_counts={},
        files={},
        origin="",
        licence="",
    )


def answers(*values: Any) -> dict[str, Label]:
    return {f"u{n}": Label(value, 1.0) for n, value in enumerate(values)}


def test_units_by_hand() -> None:
    """Two of class 2, none of class 1; a refusal is of no class."""
    assert (1, 0, 2) == class_counts(answers(2, None, 0, 2), Classification(), card(False))
    assert (0, 0, 0) == class_counts({}, Classification(), card(False))


def test_more_than_are_looked_at_together() -> None:
    """The last ones would be lost."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, 2 * TOGETHER + 5).tolist()

    assert_array_equal(
        np.bincount(values, minlength=3),
        class_counts(answers(*values), Classification(), card(False)),
    )


def test_pixels_by_hand() -> None:
    """What is labeled of an image counts, such as one polygon of it."""
    whole = encode(np.array([[0, 0, 1], [2, 2, 2]], np.uint8))
    part = encode(np.array([[IGNORE, IGNORE, 1], [IGNORE, IGNORE, 1]], np.uint8))

    assert (2, 3, 3) == class_counts(answers(whole, part), Segmentation(), card(True))


@pytest.mark.parametrize("wrong", [3, -1, b"mask"])
def test_what_is_no_class_is_refused(wrong: object) -> None:
    """It would be counted, or cost, and never train; the unit is named."""
    with pytest.raises(DataError, match="'u1'"):
        class_counts(answers(0, wrong), Classification(), card(False))
