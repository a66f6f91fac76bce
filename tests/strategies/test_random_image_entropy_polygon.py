"""The region with the largest uncertain area: by hand, and against a loop over places."""

import numpy as np
import pytest
import torch

from rayal.data.pixels import valid_pixels
from rayal.labeling.clicks import ClickModel, Region, approximate
from rayal.selection.candidates import Candidates
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.ids import Ids
from rayal.strategies.random_image_entropy_polygon import (
    RandomImageEntropyPolygon,
    area,
    grid_of,
)
from tests.support.doubles import Says


def rectangle(left: int, top: int, right: int, bottom: int, shape=(16, 24)) -> Region:
    corners = np.array([(left, top), (left, bottom), (right, bottom), (right, top)])
    return Region(corners, label=1, clicks=4, shape=shape)


def pool(*maps: np.ndarray, regions: dict[int, Region]) -> Candidates:
    """Images of which a pass kept these maps of entropies; all have the same regions."""
    rows = [np.concatenate([each.shape, each.ravel()]) for each in maps]
    ids = Ids([f"image-{i}" for i in range(len(maps))])
    kept = {"grid_entropy": np.array(rows).astype(np.float16)}
    return Candidates(ids, None, kept=kept, regions=lambda image: regions)


def chosen(units: Candidates, budget: float = 4, seed: int = 0, **options) -> list[str]:
    strategy = RandomImageEntropyPolygon(**options)
    return strategy.select(units, budget, np.random.default_rng(seed))


HALVES = {0: rectangle(0, 0, 12, 16), 1: rectangle(12, 0, 24, 16)}


def test_by_hand():
    """Areas above 0.6, not the mean: one very uncertain place is less than two that just are."""
    entropies = np.zeros((4, 6))
    entropies[0, 0] = 2.0
    entropies[1:3, 5] = 0.61
    entropies[0, 3:5] = 0.6  # not above it

    assert ["image-0/1"] == chosen(pool(entropies, regions=HALVES))
    assert ["image-0/0"] == chosen(pool(entropies, regions=HALVES), threshold=0.7)
    assert ["image-0/1"] == chosen(pool(entropies, regions=HALVES), threshold=0.59)


def test_of_equals_the_largest_polygon():
    """Where a network is sure of all, polygons are bought in the order of their size."""
    nothing = np.zeros((4, 6))

    assert ["image-0/0", "image-0/1"] == chosen(pool(nothing, regions=HALVES), 8)
    left = {number: HALVES[number % 2] for number in (7, 3, 5)}
    assert ["image-0/3", "image-0/5", "image-0/7"] == chosen(pool(nothing, regions=left), 12)


def test_images_are_at_random_whatever_their_entropy():
    """Random-Image-Entropy-Polygon: only the region is chosen by uncertainty (methods, 22)."""
    maps = [np.full((4, 6), 2.0 if i == 3 else 0.0) for i in range(8)]
    units = pool(*maps, regions=HALVES)
    orders = [[unit.split("/")[0] for unit in chosen(units, 4 * 8, seed)] for seed in range(200)]

    assert all(sorted(order) == sorted(units.ids) for order in orders)
    places = np.array([order.index("image-3") for order in orders])
    assert 2.5 < places.mean() < 4.5  # 3.5, its deviation is 0.16


@pytest.mark.parametrize("grid", [(4, 6), (2, 3), (3, 5), (16, 24), (1, 1)])
def test_the_area_agrees_with_a_loop(grid):
    """A place counts for the region that its middle is in; half a stride off, for another."""
    rng = np.random.default_rng(0)
    uncertain = rng.random(grid) < 0.6
    mask = np.kron(rng.integers(0, 3, (4, 6)), np.ones((4, 4))).astype(np.uint8)
    regions = approximate(mask, ClickModel(tolerance=1))
    middles = [
        [int((place + 0.5) * pixels / places) for place in range(places)]
        for places, pixels in zip(grid, mask.shape, strict=True)
    ]

    assert len(regions) > 4
    for region in regions:
        covered = region.mask()
        expected = sum(
            uncertain[i, j] and covered[y, x]
            for i, y in enumerate(middles[0])
            for j, x in enumerate(middles[1])
        )
        assert expected == area(region, uncertain)


def test_a_collapsed_region_has_no_area():
    """Two points cover nothing; their window is empty."""
    line = Region(np.array([(3, 3), (9, 3)]), label=0, clicks=2, shape=(16, 24))

    assert 0 == area(line, np.ones((4, 6), bool))


def test_what_the_pass_keeps_is_the_grid():
    """Filling, where the network may be as unsure as it likes, is not of any region; the numbers
    are entropies in nats."""
    logits = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    valid = valid_pixels(torch.tensor([[16, 24], [9, 15]]), 16, 24)
    signals = Signals(
        ["a", "b"], torch.zeros(2, 3, 16, 24), Networks(Says(logits).eval()), valid=valid
    )
    rows = signals.grid_entropy.numpy()
    p = logits.double().softmax(1).numpy()
    expected = -(p * np.log(p)).sum(1)
    expected[1, 2:], expected[1, :, 4:] = 0, 0  # middles: rows 2 6 10 14, columns 2 6 .. 22

    assert (2, 2 + 24) == rows.shape
    for row, entropies in zip(rows, expected, strict=True):
        np.testing.assert_allclose(entropies, grid_of(row), rtol=1e-5)


@pytest.mark.parametrize("size", [(45, 60), (256, 512), (1024, 2048)])
def test_sizes_survive_float16(size):
    """What a pass keeps is in float16: the grid would be read in rows of another length."""
    row = np.array([*size, *np.zeros(6)], np.float16)

    assert size == tuple(int(each) for each in row[:2])
