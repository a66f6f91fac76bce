"""Regions at random: which images come when, and that not a click more is spent."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.stats

from rayal.errors import UsageError
from rayal.labeling.clicks import Region
from rayal.labeling.regions import parse_unit
from rayal.selection.candidates import Candidates
from rayal.storage.ids import Ids
from rayal.strategies.random_polygon import RandomPolygon

SQUARE = np.array([(0, 0), (0, 4), (4, 4), (4, 0)])


def region(clicks: int) -> Region:
    return Region(SQUARE, label=0, clicks=clicks, shape=(8, 8))


def market(clicks: Sequence[Sequence[int]]) -> Callable[[str], dict[int, Region]]:
    """Regions of images `image-0`, `image-1` and so on that cost so many clicks."""
    return lambda image: {
        number: region(cost) for number, cost in enumerate(clicks[int(image.split("-")[1])])
    }


def pool(clicks: Sequence[Sequence[int]], overshoot: bool = False) -> Candidates:
    ids = Ids([f"image-{i}" for i in range(len(clicks))])
    return Candidates(ids, None, regions=market(clicks), overshoot=overshoot)


def choose(units: Candidates, budget: float, seed: int = 0) -> tuple[list[str], float]:
    """The units, and what they cost."""
    chosen = RandomPolygon().select(units, budget, np.random.default_rng(seed))
    places = [parse_unit(unit, units.ids) for unit in chosen]
    costs = [units.regions(at.image)[at.number or 0].clicks for at in places if at is not None]
    return chosen, sum(costs)


def images_of(chosen: Sequence[str]) -> list[str]:
    places = [parse_unit(unit, {unit.rpartition("/")[0]}) for unit in chosen]
    return [place.image for place in places if place is not None]


def drawn_clicks(images: int, seed: int = 1) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 12, rng.integers(0, 7)).tolist() for _ in range(images)]


@pytest.mark.parametrize("budget", [0, 1, 5, 37, 100, 333])
@pytest.mark.parametrize("overshoot", [False, True])
def test_not_a_click_more_than_there_is(budget, overshoot):
    """The cost axis of every curve would be wrong."""
    clicks = drawn_clicks(40)
    chosen, spent = choose(pool(clicks, overshoot), budget)
    costs = [
        clicks[int(image.split("-")[1])][int(unit.rpartition("/")[2])]
        for unit, image in zip(chosen, images_of(chosen), strict=True)
    ]

    assert sum(costs) == spent and len(set(chosen)) == len(chosen)
    if overshoot:
        assert spent >= budget and sum(costs[:-1]) < max(budget, 1)
        assert bool(chosen) == (budget > 0)
    else:
        assert budget - max(max(each, default=0) for each in clicks) < spent <= budget


def test_the_whole_pool_can_be_bought():
    """The last cycle would crash, or go round for ever."""
    clicks = drawn_clicks(12)
    chosen, spent = choose(pool(clicks), 1e9)

    assert sorted(f"image-{i}/{n}" for i, each in enumerate(clicks) for n in range(len(each))) == (
        sorted(chosen)
    )
    assert sum(map(sum, clicks)) == spent
    assert ([], 0) == choose(pool([]), 100) == choose(pool([[], []]), 100)


def test_one_region_of_each_image_before_the_second_of_any():
    """All clicks would go into a few images (methods, Sec. 22)."""
    chosen, _ = choose(pool([[3] * 5] * 20), 3 * 47)
    rounds = [images_of(chosen[start : start + 20]) for start in (0, 20, 40)]

    assert [20, 20, 7] == [len(set(images)) for images in rounds] == [*map(len, rounds)]
    assert rounds[0] == rounds[1] and rounds[0][:7] == rounds[2]
    assert rounds[0] != sorted(rounds[0])


def test_images_and_regions_are_drawn_evenly():
    """The largest region, or the first image, would be bought more often than others."""
    units, firsts = pool([[2] * 5] * 10), Counter[str]()
    for seed in range(1000):
        ((first,), _) = choose(units, 2, seed)
        firsts[first] += 1

    assert len(firsts) == 50
    assert scipy.stats.chisquare(list(firsts.values())).pvalue > 0.001


def test_the_choice_is_of_ids_and_seed():
    """Another number of shards, or a second run, would buy others."""
    clicks = drawn_clicks(15)
    units, order = pool(clicks), np.random.default_rng(2).permutation(15)
    shuffled = Candidates(units.ids[order], None, regions=units.regions)

    assert choose(units, 60) == choose(units, 60) == choose(shuffled, 60) != choose(units, 60, 1)


def test_only_regions_that_are_left_are_chosen():
    """A region would be bought twice."""
    left = {0: region(4), 3: region(2)}
    units = Candidates(Ids(["a"]), None, regions=lambda image: dict(left))

    assert {"a/0", "a/3"} == set(choose(units, 100)[0])
    assert 6 == choose(units, 100)[1]


def test_a_ranking_of_images_is_not_what_it_gives():
    """`rayal select` has no regions: it must say so and not choose images."""
    strategy = RandomPolygon()

    assert not strategy.ranks() and strategy.tasks == {"segmentation"}
    with pytest.raises(UsageError, match="regions of image 'a' are known to the oracle of a run"):
        strategy.select(Candidates(Ids(["a"]), None), 1, np.random.default_rng(0))
    assert (["image-0/0"], 4) == choose(pool([[4]]), 9)  # as in a run
