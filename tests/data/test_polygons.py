"""Outlines are exact, their simplification is Ramer-Douglas-Peucker, and filling inverts both."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rayal.data.polygons import components, fill, outlines, simplify

CONNECTIVITIES = st.sampled_from([4, 8])
MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)
quick = settings(deadline=None, max_examples=60)


def blobs(seed: int, side: int = 60) -> np.ndarray:
    """A smooth random label image of three values, with regions of all sizes."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).standard_normal((3, side, side))
    return gaussian_filter(noise, (0, 4, 4)).argmax(0).astype(np.uint8)


def traced(mask: np.ndarray, connectivity: int = 8) -> list:
    where = np.ones(mask.shape, bool)
    return outlines(components(mask, connectivity, where), connectivity)


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius - 2 : radius + 3, -radius - 2 : radius + 3]
    return np.where(x**2 + y**2 <= (radius + 0.5) ** 2, 0, -1).astype(np.int32)


def square(side: int) -> np.ndarray:
    return np.pad(np.zeros((side, side), np.int32), 3, constant_values=-1)


HAND_VALUES = [
    (disc(30), (8, 4, 4, 2)),
    (disc(50), (8, 8, 4, 4)),
    (disc(120), (16, 8, 8, 4)),
    (square(40), (4, 4, 4, 2)),
    (square(12), (4, 2, 2, 2)),
]


@pytest.mark.parametrize(("regions", "expected"), HAND_VALUES)
def test_hand_values(regions, expected):
    """Clicks would cost something else than in the paper (methods, Sec. 22)."""
    curves = [curve.points for curve in outlines(regions, 8)]

    assert expected == tuple(len(simplify(curves, t)[0]) for t in (5, 10, 20, 40))


@pytest.mark.parametrize(
    ("radius", "expected"), [(30, (8, 4, 4, 2)), (50, (8, 8, 4, 4)), (120, (16, 8, 8, 4))]
)
def test_hand_values_of_true_circles(radius, expected):
    """As above without pixels; a thousandth of a pixel is the unit."""
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius * 1000
    points = circle.round().astype(np.int64)

    assert expected == tuple(len(simplify([points], t * 1000)[0]) for t in (5, 10, 20, 40))


@pytest.mark.parametrize(
    ("picture", "connectivity", "expected"),
    [
        ([[0]], 8, [([(0, 0), (1, 0), (1, 1), (0, 1)], 1)]),
        ([[0, 0, 0]], 8, [([(0, 0), (3, 0), (3, 1), (0, 1)], 3)]),
        (
            [[0, -1], [-1, 0]],
            8,
            [([(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (1, 1), (0, 1)], 2)],
        ),
        (
            [[0, -1], [-1, 1]],
            4,
            [([(0, 0), (1, 0), (1, 1), (0, 1)], 1), ([(1, 1), (2, 1), (2, 2), (1, 2)], 1)],
        ),
        (
            [[0, 0, 0], [0, -1, 0], [0, 0, 0]],
            4,
            [
                ([(0, 0), (3, 0), (3, 3), (0, 3)], 9),
                ([(1, 1), (1, 2), (2, 2), (2, 1)], -1),
            ],
        ),
    ],
    ids=["pixel", "row", "diagonal, 8", "diagonal, 4", "hole"],
)
def test_outlines_by_hand(picture, connectivity, expected):
    """A curve that starts elsewhere, or runs through the centres, has other vertices."""
    found = outlines(np.array(picture, np.int32), connectivity)

    assert expected == [([tuple(p) for p in o.points.tolist()], o.area) for o in found]


def test_no_regions_no_outlines():
    """A mask that is ignored everywhere would stop the run."""
    assert [] == outlines(np.full((3, 4), -1, np.int32), 8)
    assert [] == simplify([], 10)


@given(MASKS, CONNECTIVITIES)
@quick
def test_components_agree_with_a_flood(mask, connectivity):
    """Regions would be joined or cut elsewhere than their definition says."""
    found = components(mask, connectivity, mask != 2)
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)] if connectivity == 8 else []
    left = {tuple(p) for p in np.argwhere(mask != 2).tolist()}
    number = 0
    while left:
        reached = [min(left)]
        left -= set(reached)
        for y, x in reached:
            near = {(y + dy, x + dx) for dy, dx in steps} & left
            near = {p for p in near if mask[p] == mask[y, x]}
            reached += near
            left -= near
        numbers = {int(found[p]) for p in reached}
        assert len(numbers) == 1
        assert len(reached) == (found == numbers.pop()).sum()
        number += 1

    assert number == found.max() + 1
    assert (found[mask == 2] == -1).all()


@given(MASKS, CONNECTIVITIES)
@quick
def test_outlines_are_exact(mask, connectivity):
    """Filling all curves of a region gives the region, each pixel of the image once."""
    found = components(mask, connectivity, mask != 2)
    curves = outlines(found, connectivity)
    regions = range(found.max() + 1)

    for region in regions:
        own = [curve for curve in curves if curve.region == region]
        covered = np.zeros(mask.shape, bool)
        place, inside = fill([curve.points for curve in own], mask.shape)
        covered[place] = inside
        np.testing.assert_array_equal(found == region, covered)
        assert (found == region).sum() == sum(curve.area for curve in own)
        assert 1 == sum(curve.area > 0 for curve in own)
        assert {region} == {int(found[curve.pixel]) for curve in own}


def distance(p, a, b) -> float:
    """Of a point from a segment, from the definition."""
    p, a, b = (np.asarray(each, float) for each in (p, a, b))
    length = ((b - a) ** 2).sum()
    t = min(max(((p - a) @ (b - a)) / length, 0), 1) if length else 0
    return float(np.hypot(*(p - a - t * (b - a))))


def naive(points, tolerance) -> list:
    """Ramer-Douglas-Peucker on one closed curve, as one would write it down."""

    def open_curve(piece):
        inner = [distance(p, piece[0], piece[-1]) for p in piece[1:-1]]
        if not inner or max(inner) <= tolerance + 1e-9:
            return [piece[0], piece[-1]]
        at = next(i for i, d in enumerate(inner, 1) if d > max(inner) - 1e-9)
        return open_curve(piece[: at + 1])[:-1] + open_curve(piece[at:])

    points = [tuple(p) for p in points.tolist()]
    squared = [(x - points[0][0]) ** 2 + (y - points[0][1]) ** 2 for x, y in points]
    far = squared.index(max(squared))
    return open_curve(points[: far + 1])[:-1] + open_curve([*points[far:], points[0]])[:-1]


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 6, 20])
def test_simplify_agrees_with_the_recursion(tolerance):
    """All pieces of all curves at once must be the same as one piece after the other."""
    curves = [curve.points for curve in traced(blobs(0))]
    found = simplify(curves, tolerance)

    assert len(curves) > 15
    for curve, simple in zip(curves, found, strict=True):
        assert naive(curve, tolerance) == [tuple(p) for p in simple.tolist()]


@pytest.mark.parametrize("tolerance", [3, 30, 100])
def test_simplify_agrees_with_scikit_image(tolerance):
    """It closes curves in the same way. (Of equal distances it takes another, by rounding, and
    what is smaller than the tolerance falls to one point: neither occurs here.)"""
    measure = pytest.importorskip("skimage.measure")
    generator = np.random.default_rng(1)
    for _ in range(20):
        curve = generator.normal(0, 40, (60, 2)).cumsum(0).round().astype(np.int64)
        expected = measure.approximate_polygon(np.concatenate([curve, curve[:1]]), tolerance)
        np.testing.assert_array_equal(expected[:-1], simplify([curve], tolerance)[0])


def test_outlines_agree_with_scikit_image():
    """Marching squares cut corners by half a pixel and otherwise run along the same edges."""
    measure = pytest.importorskip("skimage.measure")
    mask = blobs(2) == 1
    regions = components(mask.astype(np.uint8), 8, mask)
    expected = measure.find_contours(np.pad(mask, 1).astype(float), 0.5, fully_connected="high")
    found = outlines(regions, 8)

    # one point of theirs in the middle of every pixel edge of ours, and the first twice
    lengths = [
        int(np.abs(np.roll(curve.points, -1, axis=0) - curve.points).sum()) for curve in found
    ]
    assert sorted(lengths) == sorted(len(contour) - 1 for contour in expected)


@given(st.integers(0, 1000), st.floats(0, 30), st.floats(0, 30), st.sampled_from([2, 3]))
@quick
def test_more_tolerance_never_costs_more(seed, one, other, least):
    """Where a piece is cut does not depend on the tolerance, so this holds for every curve."""
    curves = [curve.points for curve in traced(blobs(seed, 30))]
    small, large = (simplify(curves, t, least) for t in sorted([one, other]))

    for few, many in zip(large, small, strict=True):
        assert {tuple(p) for p in few.tolist()} <= {tuple(p) for p in many.tolist()}
        assert least <= len(few) <= len(many)


@pytest.mark.parametrize("tolerance", [1, 4, 15])
def test_no_point_is_farther_than_the_tolerance(tolerance):
    """The tolerance would not be what it says."""
    for outline in traced(blobs(3, 40)):
        (simple,) = simplify([outline.points], tolerance)
        sides = list(zip(simple, np.roll(simple, -1, axis=0), strict=True))
        for point in outline.points:
            assert min(distance(point, a, b) for a, b in sides) <= tolerance + 1e-9


def test_a_third_point_makes_a_triangle():
    """Small regions would vanish although they were to be kept; large ones would change."""
    (line,) = simplify([np.array([(0, 0), (9, 0), (9, 2), (0, 2)])], 10)
    (triangle,) = simplify([np.array([(0, 0), (9, 0), (9, 2), (0, 2)])], 10, least=3)
    large = np.array([(0, 0), (90, 0), (90, 90), (0, 90)])

    assert [[0, 0], [9, 2]] == line.tolist()
    assert [[0, 0], [9, 0], [9, 2]] == triangle.tolist()
    np.testing.assert_array_equal(large, simplify([large], 10, least=3)[0])


def inside(rings, x: Fraction, y: Fraction) -> bool:
    """Whether a ray to the left crosses an odd number of edges, in exact numbers."""
    odd = False
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0).tolist(), strict=True):
            if (y0 <= y) != (y1 <= y):
                odd ^= x0 + Fraction(x1 - x0) * (y - y0) / (y1 - y0) <= x
    return odd


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-2, 9), st.integers(-2, 9)), min_size=2, max_size=7),
        min_size=1,
        max_size=2,
    )
)
@quick
def test_fill_agrees_with_exact_numbers(rings):
    """Whatever the polygon: crossing itself, flat, partly outside of the image."""
    rows, columns = 6, 7
    covered = np.zeros((rows, columns), bool)
    place, found = fill([np.array(ring) for ring in rings], (rows, columns))
    covered[place] = found
    half = Fraction(1, 2)
    expected = [[inside(rings, x + half, y + half) for x in range(columns)] for y in range(rows)]

    np.testing.assert_array_equal(expected, covered)


def test_fill_agrees_with_scikit_image():
    """On polygons of a size as they occur; centres on an edge may belong to either side."""
    draw = pytest.importorskip("skimage.draw")
    generator = np.random.default_rng(0)
    for _ in range(20):
        ring = generator.uniform(5, 95, (12, 2))
        covered = np.zeros((100, 100), bool)
        place, found = fill([ring], covered.shape)
        covered[place] = found
        np.testing.assert_array_equal(
            draw.polygon2mask(covered.shape, ring[:, ::-1] - 0.5), covered
        )
