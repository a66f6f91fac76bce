"""Distances against whole-number arithmetic, which has no rounding at all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rayal.errors import DataError
from rayal.selection import distances
from rayal.selection.distances import (
    Grid,
    Made,
    blocks,
    check_finite,
    check_scale,
    magnitudes,
    nearer,
    nearest,
    nearest_squared,
    squared_distances,
    unit_length,
    within,
)
from rayal.storage.ids import Ids


def rows(n: int, width: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((n, width)) * scale
    return values.astype(np.float16)


def by_integers(x: torch.Tensor, y: torch.Tensor) -> list[list[int]]:
    xs, ys = ([[int(v) for v in row] for row in each.tolist()] for each in (x, y))
    return [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in ys] for p in xs]


@pytest.mark.parametrize("width", [1, 2, 3, 512, 2048])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_distances_are_exact(width, scale):
    """A rounded distance would make a pick depend on how the matrix product was divided."""
    x, y = rows(6, width, 1, scale), rows(5, width, 2, scale) + np.float16(scale)
    grid = Grid.of(x, y)
    placed = grid.place(x), grid.place(y)

    assert squared_distances(*placed).tolist() == by_integers(*placed)
    assert nearest_squared(placed[0], grid, y).tolist() == [min(r) for r in by_integers(*placed)]


def test_the_largest_numbers_stay_exact():
    """Every number at its largest, with opposite signs, is where float64 would overflow first."""
    x = np.full((2, 777), 65504, dtype=np.float16)
    x[1] = -x[1]
    grid = Grid.of(x)
    placed = grid.place(x)

    assert squared_distances(placed, placed).tolist() == by_integers(placed, placed)


def test_the_grid_is_as_fine_as_documented():
    """A coarser grid would call different units equal: at D = 512 it has 21 bits."""
    x = np.zeros((2, 512), dtype=np.float32)
    x[0, 0], x[1, 0] = 1.0, 1.0 - 2.0**-20  # 1 needs the bit above: steps of 2^-20
    placed = Grid.of(x).place(x)

    assert squared_distances(placed, placed)[0, 1] == 1


def test_blocks_change_nothing(monkeypatch):
    """The block size would decide between near ties."""
    x, centres = rows(300, 64, 3), rows(70, 64, 4)
    grid = Grid.of(x, centres)
    whole = nearest_squared(grid.place(x), grid, centres)
    monkeypatch.setattr(distances, "BLOCK", 7)
    parts = [nearest_squared(grid.place(x[i : i + 11]), grid, centres) for i in range(0, 300, 11)]

    assert torch.equal(torch.cat(parts), whole)


def test_equal_rows_are_zero_apart():
    """The subtraction of large products leaves noise around 0, whose root is not a number."""
    x = np.repeat(rows(40, 512, 5, 100.0), 3, axis=0)
    placed = Grid.of(x).place(x)
    between = squared_distances(placed, placed)

    assert (between.diagonal() == 0).all()
    assert between.min() == 0
    assert int((between == 0).sum()) == 40 * 9


def test_grid_of_nothing_but_zeros():
    """A dead layer would crash the selection."""
    x = np.zeros((3, 4), dtype=np.float16)
    placed = Grid.of(x, x[:0]).place(x)

    assert squared_distances(placed, placed).abs().max() == 0


def test_within_is_exact_on_the_edge():
    """Whether a unit on the edge of a ball is covered would be up to the rounding of float32."""
    generator = np.random.default_rng(6)
    offset = 3000.0
    x = generator.integers(-4, 5, (200, 64)).astype(np.float32) + offset
    y = generator.integers(-4, 5, (200, 64)).astype(np.float32) + offset
    grid = Grid.of(x, y)
    a, b = grid.place(x), grid.place(y)
    exact = squared_distances(a, b)
    limit = float(exact.flatten()[12345])  # so some pairs lie exactly on it
    single = (a.float()[:, None] - b.float()).square().sum(dim=2)
    rounded = (
        a.float().square().sum(1)[:, None] + b.float().square().sum(1) - 2 * a.float() @ b.float().T
    )

    assert torch.equal(single <= limit, exact <= limit)  # the limit is right
    assert not torch.equal(rounded <= limit, exact <= limit)  # and the case is hard
    assert torch.equal(within(a, b, limit), exact <= limit)


def test_unit_length():
    """A row of zeros would become NaN, and rows in another block another length."""
    x = np.vstack([rows(30, 5, 7, 50.0), np.zeros((1, 5), np.float16)])
    scaled = unit_length(x)

    np.testing.assert_allclose(np.linalg.norm(scaled[:30], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(scaled[0] * np.linalg.norm(x[0].astype(float)), x[0], rtol=1e-5)
    assert not scaled[30].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_names_the_first_unit_that_is_not_finite(bad):
    """Features that overflow float16 would be selected first, or never, without a word."""
    x = rows(5, 3)
    x[3, 1] = x[4, 0] = bad
    ids = Ids(list("abcde"))

    with pytest.raises(DataError, match="features of unit 'd'"):
        check_finite(ids, x, "features")
    check_finite(ids[:3], x[:3], "features")
    check_finite(ids[:0], x[:0], "features")


def test_nearer_is_exact_whatever_the_block():
    """A unit on the edge of the least distance would be taken or not by the size of a block."""
    x, y = rows(60, 7, 3, 4.0).astype(np.float16), rows(50, 7, 4, 4.0).astype(np.float16)
    apart = np.sqrt([[np.square(a.astype(float) - b).sum() for b in y.astype(float)] for a in x])
    for distance in (np.median(apart), apart[3, 4], np.nextafter(apart[3, 4], 99), 1e-9, 1e9):
        near = nearer(x, y, float(distance))

        np.testing.assert_array_equal(apart < distance, near)
        np.testing.assert_array_equal(near[:, 7:9], nearer(x, y[7:9], float(distance)))
        np.testing.assert_array_equal(near.T, nearer(y, x, float(distance)))
    assert (60, 0) == nearer(x, y[:0], 1.0).shape


def test_made_rows_are_those_that_are_made_at_once():
    """A pool whose features lie in a file would be selected from otherwise than one in memory."""
    x = rows(3000, 5)
    order = np.random.default_rng(1).permutation(3000)[:2500]
    made, whole = Made(x, unit_length, order), unit_length(x)[order]

    assert (2500, 5) == made.shape and 2500 == len(made)
    np.testing.assert_array_equal(whole, np.concatenate(list(blocks(made))), strict=True)
    np.testing.assert_array_equal(whole[[7, 3]], made[np.array([7, 3])], strict=True)
    assert Grid.of(made) == Grid.of(whole)


def scaled(*groups: tuple[Ids, np.ndarray]) -> None:
    """Raises where the rows, N x 512, of these ids do not go together."""
    check_scale(*((ids, magnitudes(x)) for ids, x in groups), width=512, way_out="leave it out")


def test_names_the_unit_that_makes_the_grid_too_coarse():
    """One unit of 6e4 among features around 1 made most picks of core-set those of rounding."""
    x, labeled = rows(50, 512), rows(5, 512, 1)
    ids, named = Ids([f"u{i}" for i in range(50)]), Ids([f"l{i}" for i in range(5)])
    scaled((ids, x), (named, labeled))
    for group, place, name in ((x, 7, "u7"), (labeled, 3, "l3")):
        kept, group[place, 5] = group[place, 5], np.float16(-6e4)
        with pytest.raises(DataError, match=f"unit '{name}' reach 6e.04, .* most units 3.*; leave"):
            scaled((ids, x), (named, labeled))
        group[place, 5] = kept


def test_scales_that_the_grid_holds_are_not_refused():
    """A dead unit, an empty group or features of another size would end a run for nothing."""
    ids, x = Ids([f"u{i}" for i in range(50)]), rows(50, 512)
    x[:40] = 0
    for scale in (1e-3, 1.0, 1e3):
        scaled((ids, (x * np.float16(scale)).astype(np.float16)), (ids[:0], x[:0]))
    scaled((ids, np.zeros_like(x)))
    x[1, 1] = 250  # 70 times the others: 15 bits are left
    scaled((ids, x))


def nearest_by_a_loop(
    rows: np.ndarray, others: np.ndarray, before: list[int]
) -> tuple[list[float], list[int]]:
    """Each distance by itself, in float64; of equals the first."""
    far, at = [], []
    for row, limit in zip(rows.astype(np.float64), before, strict=True):
        found = [float(np.sqrt(np.square(row - o).sum())) for o in others[:limit].astype(float)]
        far.append(min(found, default=np.inf))
        at.append(found.index(far[-1]) if found else -1)
    return far, at


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 6),
    st.integers(0, 2**20),
    st.sampled_from([1.0, 1e-3, 300.0]),
    st.booleans(),
)
def test_nearest_is_that_of_a_loop(
    rows: int, others: int, width: int, seed: int, scale: float, limited: bool
) -> None:
    """A number in a report would be of another unit, or differ from machine to machine."""
    rng = np.random.default_rng(seed)
    x, y = (
        (scale * rng.integers(-2, 3, (n, width))).astype(np.float16) for n in (rows, others)
    )  # few values: ties, and equal rows
    before = rng.integers(0, others + 1, rows) if limited else np.full(rows, others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "BLOCK", 7)
        far, at = nearest(x, y, before if limited else None)

    assert nearest_by_a_loop(x, y, before.tolist()) == (far.tolist(), at.tolist())


def test_nearest_by_hand() -> None:
    """3 and 4 make 5; of two as near the first counts; what stands first has nothing before it."""
    points = np.array([[0, 0], [3, 4], [0, 0], [-3, -4]], np.float16)
    far, at = nearest(points, points, np.arange(4))

    assert [np.inf, 5.0, 0.0, 5.0] == far.tolist()
    assert [-1, 0, 0, 0] == at.tolist()
