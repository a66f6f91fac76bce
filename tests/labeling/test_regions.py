"""Units that are regions: which names mean what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.labeling.regions import UnitName, parse_unit, region_id

IMAGES = {"a", "street/0", "street/0/1", "7", "x/"}


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("a", UnitName("a", None)),
        ("a/0", UnitName("a", 0)),
        ("a/17", UnitName("a", 17)),
        ("7/7", UnitName("7", 7)),
        ("street/0", UnitName("street/0", None)),
        ("street/0/0", UnitName("street/0", 0)),
        ("street/0/1", UnitName("street/0/1", None)),  # an image, and not a region of one
        ("street/0/1/1", UnitName("street/0/1", 1)),
        ("x//3", UnitName("x/", 3)),
        *((unit, None) for unit in ("", "b", "b/0", "a/", "a/01", "a/-1", "a/1.0", "a/x", "/0")),
        *((unit, None) for unit in ("street", "a/0/0", "a/²", "a/٣", "a/ 1", "a/1 ", "a/1_0")),
    ],
)
def test_by_hand(unit, expected):
    """A label would be of another image, or one region have two names and be bought twice."""
    assert expected == parse_unit(unit, IMAGES)


@settings(deadline=None)
@given(st.sampled_from(["b", "b/c", "ü/1 2", "0"]), st.integers(0, 10**6))
def test_a_region_is_found_by_its_name(image, number):
    """What a strategy buys, an oracle has to find."""
    assert UnitName(image, number) == parse_unit(region_id(image, number), {image, "other"})
