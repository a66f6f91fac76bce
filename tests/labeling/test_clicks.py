"""Masks as regions that cost clicks, and regions as masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from rayal.data.masks import IGNORE
from rayal.labeling.clicks import ClickModel, approximate, paint

exact = ClickModel(tolerance=0)
quick = settings(deadline=None, max_examples=60)
MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, IGNORE]))
)


def picture(*rows: str) -> np.ndarray:
    """A mask from digits; a dot is ignored."""
    return np.array([[IGNORE if c == "." else int(c) for c in row] for row in rows], np.uint8)


def blobs(seed: int, side: int = 60) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((4, side, side))
    found = gaussian_filter(noise, (0, 3, 3)).argmax(0).astype(np.uint8)
    return np.where(found == 3, IGNORE, found).astype(np.uint8)


def clicks(mask: np.ndarray, options: ClickModel) -> int:
    return sum(region.clicks for region in approximate(mask, options))


def redrawn(mask: np.ndarray, options: ClickModel) -> np.ndarray:
    return paint(approximate(mask, options), mask.shape)


@pytest.mark.parametrize(
    ("side", "tolerance", "expected"),
    [(40, 5, 4), (40, 10, 4), (40, 20, 4), (40, 40, 2), (12, 5, 4), (12, 10, 2)],
)
def test_squares_by_hand(side, tolerance, expected):
    """A budget in clicks would buy another number of images (methods, Sec. 22)."""
    mask = np.full((50, 60), IGNORE, np.uint8)
    mask[5 : 5 + side, 9 : 9 + side] = 3
    (region,) = approximate(mask, ClickModel(tolerance=tolerance))

    assert (expected, 3, (50, 60)) == (region.clicks, region.label, region.shape)
    assert expected == len(region.polygon)
    if expected == 4:
        np.testing.assert_array_equal(mask == 3, region.mask())
    else:
        assert not region.mask().any()


def test_a_whole_image_is_its_frame():
    """A region that touches the border on all sides must not lose the outermost pixels."""
    mask = np.full((30, 50), 4, np.uint8)
    (region,) = approximate(mask, ClickModel())

    assert [[0, 0], [50, 0], [50, 30], [0, 30]] == region.polygon.tolist()
    np.testing.assert_array_equal(mask, paint([region], mask.shape))


def test_the_larger_outline_goes_first():
    """What lies in a hole would be painted over; region numbers are part of ids."""
    ring = picture("00000", "02220", "02120", "02220", "00000")
    regions = approximate(ring, exact)

    assert [0, 2, 1] == [region.label for region in regions]
    np.testing.assert_array_equal(ring, paint(regions, ring.shape))


def test_equal_sizes_go_from_the_top():
    """An order that is not fixed would give regions other ids in the next process."""
    mask = picture("1.0", "...", "0.1")

    assert [(0, 0, 1), (2, 0, 0), (0, 2, 0), (2, 2, 1)] == [
        (*region.polygon[0].tolist(), region.label) for region in approximate(mask, exact)
    ]


@pytest.mark.parametrize(("connectivity", "regions", "cost"), [(8, 1, 8), (4, 2, 8)])
def test_pixels_that_touch_at_a_corner(connectivity, regions, cost):
    """They are one region or two, as the option says."""
    found = approximate(picture("1.", ".1"), ClickModel(tolerance=0, connectivity=connectivity))

    assert (regions, cost) == (len(found), sum(region.clicks for region in found))


def test_holes_are_filled_or_cost_clicks():
    """A region bought alone would label what is in its holes, or holes would be free."""
    mask = picture("000", "0.0", "000")
    (filled,) = approximate(mask, exact)
    (traced,) = approximate(mask, ClickModel(tolerance=0, holes="traced"))

    assert (4, 9, 0) == (filled.clicks, filled.mask().sum(), len(filled.holes))
    assert (8, 8, 1) == (traced.clicks, traced.mask().sum(), len(traced.holes))
    assert not traced.mask()[1, 1]


@given(st.integers(0, 10_000), st.integers(1, 3), st.sampled_from([4, 8]))
@quick
def test_holes_never_add_pixels(seed, thickness, connectivity):
    """Thin loops around holes: simplified by 10 pixels, holes overlap and stick out of the polygon,
    and what an odd number of outlines surrounds would be labeled outside of the region."""
    mask = loops(seed, thickness)
    options = ClickModel(tolerance=10, connectivity=connectivity, holes="traced")
    for region in approximate(mask, options):
        outer = ring_mask(region.polygon, mask.shape)
        holes = [ring_mask(hole, mask.shape) for hole in region.holes]

        expected = outer & ~np.any([np.zeros_like(outer), *holes], axis=0)
        np.testing.assert_array_equal(expected, region.mask())


def test_some_holes_stick_out():
    """The test above would compare the same things."""
    regions = [
        region
        for seed in range(20)
        for region in approximate(loops(seed, 1), ClickModel(tolerance=10, holes="traced"))
    ]
    out = [
        (ring_mask(hole, region.shape) & ~ring_mask(region.polygon, region.shape)).any()
        for region in regions
        for hole in region.holes
    ]

    assert any(out) and not all(out)


def loops(seed: int, thickness: int) -> np.ndarray:
    """Crooked closed curves of one class on void, some across others."""
    rng = np.random.default_rng(seed)
    mask = np.full((70, 80), IGNORE, np.uint8)
    y, x = np.mgrid[:70, :80]
    for _ in range(rng.integers(1, 4)):
        centre = rng.integers(25, 45), rng.integers(25, 55)
        angle, far = (
            np.arctan2(y - centre[0], x - centre[1]),
            np.hypot(y - centre[0], x - centre[1]),
        )
        bumps, size = rng.integers(2, 7), rng.integers(10, 24)
        radius = size + rng.uniform(2, 8) * np.sin(bumps * angle + rng.uniform(0, 6))
        mask[abs(far - radius) <= thickness] = 1
    return mask


def ring_mask(ring: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres a ray to the left of crosses an odd number of edges."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if ay != by:
            crossing = ax + (y - ay) * (bx - ax) / (by - ay)
            inside ^= ((ay > y) != (by > y)) & (crossing <= x)
    return inside


def test_the_background_has_no_regions():
    """It would cost clicks, or be painted over objects."""
    mask = picture("0000", "0110", "0000")
    (region,) = approximate(mask, ClickModel(tolerance=0, background=0))

    assert (1, 4) == (region.label, region.clicks)
    np.testing.assert_array_equal(mask, paint([region], mask.shape, rest=0))


@pytest.mark.parametrize(
    ("collapsed", "expected"),
    [("counted", (2, 6, 0)), ("triangle", (2, 7, 1)), ("skipped", (1, 4, 0))],
)
def test_regions_that_collapse(collapsed, expected):
    """One pixel beside a large square: paid for nothing, kept as a triangle, or left."""
    mask = np.full((40, 40), IGNORE, np.uint8)
    mask[:30, :30], mask[35, 35] = 0, 1
    options = ClickModel(collapsed=collapsed)
    found = approximate(mask, options)
    covered = int((paint(found, mask.shape) == 1).sum())

    assert expected == (len(found), sum(region.clicks for region in found), covered)


def test_a_mask_without_classes_has_no_regions():
    """An image that is ignored everywhere would end the run."""
    mask = np.full((4, 5), IGNORE, np.uint8)

    assert [] == approximate(mask, ClickModel())
    np.testing.assert_array_equal(mask, paint([], mask.shape))


@given(MASKS, st.sampled_from([4, 8]))
@quick
def test_traced_at_tolerance_0_gives_the_mask_back(mask, connectivity):
    """Polygons would be half a pixel off, or overlap. Void between regions stays void."""
    options = ClickModel(tolerance=0, connectivity=connectivity, holes="traced")

    np.testing.assert_array_equal(mask, redrawn(mask, options))


@given(MASKS)
@quick
def test_filled_at_tolerance_0_gives_all_labeled_pixels_back(mask):
    """With connectivity 4, regions lie within each other or apart, so the order is enough. With 8
    they can cross at corners. Void in a hole is covered."""
    found = redrawn(mask, ClickModel(tolerance=0, connectivity=4))

    np.testing.assert_array_equal(mask[mask != IGNORE], found[mask != IGNORE])


OPTIONS = st.builds(
    ClickModel,
    connectivity=st.sampled_from([4, 8]),
    holes=st.sampled_from(["filled", "traced"]),
    background=st.sampled_from([None, 1]),
    collapsed=st.sampled_from(["counted", "triangle", "skipped"]),
)


@given(st.integers(0, 100), OPTIONS, st.floats(0, 30), st.floats(0, 30))
@quick
def test_more_tolerance_never_costs_more(seed, options, one, other):
    """Whatever the other options; methods, Sec. 22."""
    small, large = (options.model_copy(update={"tolerance": t}) for t in sorted([one, other]))
    mask = blobs(seed, 30)

    assert clicks(mask, large) <= clicks(mask, small)


@given(st.integers(0, 100), OPTIONS)
@quick
def test_clicks_are_vertices(seed, options):
    """Costs must be what somebody would click."""
    for region in approximate(blobs(seed), options):
        assert region.clicks == len(region.polygon) + sum(map(len, region.holes))
        assert region.label not in (IGNORE, options.background)
        place, inside = region.window()
        np.testing.assert_array_equal(region.mask()[place], inside)
        assert region.mask().sum() == inside.sum()


def test_painting_keeps_most_of_the_mask():
    """Polygons of the right regions in the wrong place would go unseen elsewhere."""
    mask = blobs(7, 200)
    known = mask != IGNORE
    kept = [(redrawn(mask, ClickModel(tolerance=t)) == mask)[known].mean() for t in (1, 3, 30)]

    assert kept[0] > 0.9 and kept[1] > 0.75
    assert kept[0] > kept[1] > kept[2]


@pytest.mark.parametrize(
    "wrong",
    [{"tolerance": -1}, {"connectivity": 6}, {"background": IGNORE}, {"holes": "kept"}],
)
def test_impossible_options_are_refused(wrong):
    """They would fail in the middle of a run, or count something else."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClickModel(**wrong)
