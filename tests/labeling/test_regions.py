"""Units that are regions: which names mean what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.labeling.regions import Place, place_of, region_id

IMAGES = {"a", "street/0", "street/0/1", "7", "x/"}


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("a", Place("a", None)),
        ("a/0", Place("a", 0)),
        ("a/17", Place("a", 17)),
        ("7/7", Place("7", 7)),
        ("street/0", Place("street/0", None)),
        ("street/0/0", Place("street/0", 0)),
        ("street/0/1", Place("street/0/1", None)),  # an image, and not a region of one
        ("street/0/1/1", Place("street/0/1", 1)),
        ("x//3", Place("x/", 3)),
        *((unit, None) for unit in ("", "b", "b/0", "a/", "a/01", "a/-1", "a/1.0", "a/x", "/0")),
        *((unit, None) for unit in ("street", "a/0/0", "a/²", "a/٣", "a/ 1", "a/1 ", "a/1_0")),
    ],
)
def test_by_hand(unit, expected):
    """A label would be of another image, or one region have two names and be bought twice."""
    assert expected == place_of(unit, IMAGES)


@settings(deadline=None)
@given(st.sampled_from(["b", "b/c", "ü/1 2", "0"]), st.integers(0, 10**6))
def test_a_region_is_found_by_its_name(image, number):
    """What a strategy buys, an oracle has to find."""
    assert Place(image, number) == place_of(region_id(image, number), {image, "other"})
