"""What is offered in a cycle, and what labels of images become of the regions bought."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.cycle import offer as offers
from rayal.cycle.offer import Offer, of_images
from rayal.data.datasets.camvid import Camvid
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, decode, encode
from rayal.data.store import Store
from rayal.errors import DataError
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.clicks import Clicks
from rayal.labeling.oracles.people import People
from rayal.labeling.regions import region_id
from rayal.selection.candidates import Candidates, spend
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.testing.trainings import prepared
from tests.support import scenes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write(tmp_path_factory.mktemp("scenes"), pool=6, test=2)


@pytest.fixture(scope="module")
def x(root: Path) -> Experiment:
    fields: dict[str, Any] = {
        "name": "market",
        "dataset": {"name": "camvid", "root": str(root)},
        "task": "segmentation",
        "model": "small_segmenter",
        "strategy": "random_polygon",
        "oracle": {"name": "clicks", "tolerance": 2},
        "budget": {"initial": 20, "per_cycle": 10, "total": 60, "unit": "clicks"},
    }
    return Experiment.model_validate(fields)


@pytest.fixture(scope="module")
def store(root: Path) -> Store:
    return Camvid(root=str(root)).open()


def read(store: Store, label: Any) -> np.ndarray:
    assert store.card.masks is not None
    return decode(label, store.card.masks, Decoding())


def bought(x: Experiment, store: Store, *units: str) -> dict[str, Any]:
    """The oracle's answers, as a ledger has them."""
    answers = x.oracle.answer(store, units, Folder("memory://unused"))
    return {unit: answer.value for unit, answer in answers.items()}


def test_regions_are_those_that_are_left(x, store):
    """A region would be paid for twice; numbers must stay those of the oracle."""
    image, other, *_ = store.pool.ids()
    every = x.oracle.regions(store, [image])[image]
    market = Offer(x, store, {region_id(image, 0), region_id(image, 2), region_id(other, 1)})
    left = market.regions(image)

    assert len(every) > 3
    assert [1, *range(3, len(every))] == list(left)
    for number, region in left.items():
        np.testing.assert_array_equal(every[number].polygon, region.polygon)
    assert [0] == list(market.regions(other))[:1] and 1 not in market.regions(other)


def test_nothing_is_left_of_an_image_of_which_all_is_bought(x, store):
    """The round over the images would never end."""
    image = store.pool.ids()[0]
    units = {region_id(image, n) for n in range(len(x.oracle.regions(store, [image])[image]))}

    assert {} == Offer(x, store, units).regions(image)


def test_costs_are_the_oracles_where_it_counts_clicks(x, store):
    """Dear images would be bought as if they cost one."""
    ids = store.pool.ids()
    market = Offer(x, store, ())
    regions = x.oracle.regions(store, ids)

    clicks = [sum(region.clicks for region in regions[unit]) for unit in ids]
    assert clicks == market.costs(ids).tolist()
    assert not market.one_price and not market.overshoot


@pytest.mark.parametrize("asked", [1, 2, 256])
@pytest.mark.parametrize("overshoot", [False, True])
def test_what_is_affordable_is_what_spending_buys(x, store, monkeypatch, overshoot, asked):
    """Costs are asked for a few at a time; the choice must be that of knowing all of them."""
    monkeypatch.setattr(offers, "ASKED", asked)
    ids = store.pool.ids()
    fields = x.budget.model_dump() | {"overshoot": overshoot}
    market = Offer(x.model_copy(update={"budget": Budget(**fields)}), store, ())
    costs = market.costs(ids)
    for budget in (0, costs[0], costs[0] + 1, *np.cumsum(costs), costs.sum() + 1):
        pool = Candidates(Ids(ids), None, market.costs, overshoot=overshoot)
        expected = spend(pool, np.arange(len(ids)), budget)
        assert (len(expected), costs[expected].sum()) == market.affordable(ids, budget)


def test_no_cost_is_asked_beyond_the_budget(x, store, monkeypatch):
    """Outlines of a whole pool of large masks take half an hour."""
    monkeypatch.setattr(offers, "ASKED", 2)
    asked = list[str]()
    market = Offer(x, store, ())
    monkeypatch.setattr(market, "costs", lambda ids: asked.extend(ids) or np.full(len(ids), 4.0))

    assert (3, 12.0) == market.affordable(store.pool.ids(), 15)
    assert store.pool.ids()[:4] == asked


def test_images_of_one_price_ask_nobody(x, store):
    """Pools of millions would go through the oracle in every cycle."""
    fields = {"oracle": "simulated", "strategy": "entropy", "name": "samples"}
    budget = {"initial": 2, "per_cycle": 2, "total": 4, "overshoot": True}
    samples = Experiment.model_validate({**x.model_dump(mode="json"), **fields, "budget": budget})
    market = Offer(samples, store, ())

    assert market.one_price and market.overshoot
    assert [1.0] * 3 == market.costs(["anything", "at", "all"]).tolist()


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_not_bought_is_ignored(x, store, order):
    """The ignore mask is the complement of what was bought, whatever the order of purchase."""
    image = store.pool.ids()[2]
    regions = x.oracle.regions(store, [image])[image]
    numbers = list(range(0, len(regions), 2))[::order]
    labels = of_images(bought(x, store, *(region_id(image, n) for n in numbers)), store)
    mask = read(store, labels[image])

    covered = np.any([regions[n].mask() for n in numbers], axis=0)
    assert [image] == list(labels) and len(numbers) > 1 and not covered.all()
    np.testing.assert_array_equal(covered, mask != IGNORE)
    for place in np.argwhere(covered):  # the last of those that cover it: it is painted on top
        on_top = max(n for n in numbers if regions[n].mask()[tuple(place)])
        assert regions[on_top].label == mask[tuple(place)]


def test_all_regions_are_the_image(x, store):
    """Bought one by one, in any order, they must teach what the whole image teaches."""
    rng = np.random.default_rng(0)
    for image in store.pool.ids():
        numbers = rng.permutation(len(x.oracle.regions(store, [image])[image]))
        parts = bought(x, store, *(region_id(image, n) for n in numbers))
        whole = bought(x, store, image)

        np.testing.assert_array_equal(
            read(store, whole[image]), read(store, of_images(parts, store)[image])
        )


def test_labels_are_in_the_order_of_the_pool(x, store):
    """Batches are drawn by place in this list: the order of purchase would change them."""
    ids = store.pool.ids()
    units = [ids[3], region_id(ids[1], 1), region_id(ids[4], 0), region_id(ids[1], 0), ids[0]]
    labels = bought(x, store, *units)
    merged = of_images(labels, store)

    assert [ids[0], ids[1], ids[3], ids[4]] == list(merged)
    assert labels[ids[0]] == merged[ids[0]] and labels[units[2]] == merged[ids[4]]
    again = of_images(dict(reversed(labels.items())), store)
    assert list(merged.items()) == list(again.items())


def test_classes_of_images_pass_through(store):
    """Classification has no regions."""
    ids = store.pool.ids()

    assert [(ids[1], 4), (ids[2], 0)] == list(of_images({ids[2]: 0, ids[1]: 4}, store).items())


def test_a_region_lies_over_the_label_of_the_image(store):
    """An oracle may refine what is known already."""
    image = store.pool.ids()[0]
    one = np.zeros(scenes.SHAPE, np.uint8)
    two = np.full(scenes.SHAPE, IGNORE, np.uint8)
    two[3:9, 4:7] = 2
    labels = of_images({f"{image}/0": encode(two), image: encode(one)}, store)

    np.testing.assert_array_equal(np.where(two == 2, 2, 0), read(store, labels[image]))


@pytest.mark.parametrize("label", ["/data/mask.png", 3])
def test_a_label_that_cannot_be_laid_over_another_is_named(store, label):
    """It would be left out of the training without a word."""
    image = store.pool.ids()[0]
    region = encode(np.zeros(scenes.SHAPE, np.uint8))

    with pytest.raises(DataError, match=f"image '{image}' has 2 labels, of which"):
        of_images({image: label, f"{image}/0": region}, store)


@pytest.mark.parametrize("unit", ["nowhere", "nowhere/0", "train-000/x"])
def test_units_of_another_pool_are_named(x, store, unit):
    """The run folder of another dataset would be continued without its labels."""
    with pytest.raises(DataError, match=f"'{unit}' lies in no image of the pool; use the dataset"):
        of_images({unit: b""}, store)
    own = store.pool.ids()[0]
    assert {own: b""} == of_images({own: b""}, store)
    with pytest.raises(DataError, match=f"'{unit}' lies in no image of the pool"):
        Offer(x, store, {unit}).regions(store.pool.ids()[0])


def test_the_oracle_of_the_experiment_is_asked(x):
    """Regions of other options would be other regions under the same name."""
    assert Clicks(tolerance=2) == x.oracle


def test_what_was_paid_takes_the_place_of_a_guess() -> None:
    """People who take twice as long as was thought would be asked for twice as much, each time."""
    fields: dict[str, Any] = {
        "name": "people",
        "dataset": "digits",
        "model": "small_cnn",
        "strategy": "random",
        "oracle": {"name": "people", "cost": "seconds", "seconds_per_unit": 6},
        "budget": {"initial": 20, "per_cycle": 10, "total": 60, "unit": "seconds"},
    }
    x, store = Experiment.model_validate(fields), prepared(False)
    first, later = Offer(x, store, ()), Offer(x, store, ["a", "b", "c"], 10.5)

    assert [6.0, 6.0] == first.costs(["x", "y"]).tolist()
    assert [10.5, 10.5] == later.costs(["x", "y"]).tolist()
    assert (2, 21.0) == later.affordable(["x", "y", "z"], 31.0)


def test_a_tile_costs_the_seconds_that_a_unit_takes(x: Experiment, store: Store) -> None:
    """Of tiles a cycle would buy as many as its budget has seconds."""
    people = People(tiles=(1, 3), cost="seconds", seconds_per_unit=6.4)
    budget = Budget(initial=20, per_cycle=10, total=60, unit="seconds")
    asked = x.model_copy(update={"oracle": people, "budget": budget})
    image = store.pool.ids()[0]
    first, later = Offer(asked, store, ()), Offer(asked, store, [region_id(image, 1)], 9.0)

    assert {0: 6, 1: 6, 2: 6} == {n: each.clicks for n, each in first.regions(image).items()}
    assert {0: 9, 2: 9} == {n: each.clicks for n, each in later.regions(image).items()}
