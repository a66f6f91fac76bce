"""The oracle that draws polygons: answers, costs and regions of one store agree."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayal.cycle.first_units import first_units
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, MaskDecoding, decode, encode
from rayal.data.prepare import prepare
from rayal.data.source import Source, Units, numbered
from rayal.data.store import Store
from rayal.errors import DataError, UsageError
from rayal.labeling.clicks import ClickModel, paint
from rayal.labeling.oracles import clicks as module
from rayal.labeling.oracles.clicks import Clicks
from rayal.labeling.oracles.simulated import Simulated
from rayal.storage.folder import Folder

MASKS = MaskDecoding(values={0: 0, 1: 1, 2: 2, IGNORE: IGNORE})
SHAPE = 70, 90


def two_squares() -> np.ndarray:
    """40 x 40 of class 1 and 20 x 30 of class 2 on void: 8 clicks at 10 pixels."""
    mask = np.full(SHAPE, IGNORE, np.uint8)
    mask[10:50, 10:50] = 1
    mask[30:50, 55:85] = 2
    return mask


def on_background() -> np.ndarray:
    """A square of class 1 with a hole of void, on class 0; void to the right."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:60, 10:60] = 1
    mask[30:35, 30:35] = IGNORE
    mask[:, 80:] = IGNORE
    return mask


PICTURES = {
    "a": two_squares(),
    "b": on_background(),
    "street/0": np.full(SHAPE, 2, np.uint8),
    "void": np.full(SHAPE, IGNORE, np.uint8),
}


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("store")
    generator = np.random.default_rng(0)
    images = [png(generator.integers(0, 256, (*SHAPE, 3), np.uint8)) for _ in PICTURES]
    pool = Units(list(PICTURES), [png(mask) for mask in PICTURES.values()], images)
    test = Units(["test"], [png(PICTURES["a"])], images[:1])
    source = Source(["x", "y", "z"], pool, test, origin="", licence="", masks=MASKS)
    prepare(source, out, "toy", "toy", None)
    return Store(str(out))


def read(value: bytes) -> np.ndarray:
    return decode(value, MASKS, Decoding())


def answer(oracle: Clicks, store: Store, *ids: str) -> dict:
    return oracle.answer(store, ids, Folder("memory://unused"))


def test_a_whole_image_by_hand(store):
    """Training would see another mask than the one paid for."""
    label = answer(Clicks(), store, "a")["a"]

    assert 8.0 == label.cost
    np.testing.assert_array_equal(PICTURES["a"], read(label.value))


def test_a_region_is_its_polygon_and_nothing_else(store):
    """The ignore mask is the complement of what was bought."""
    labels = answer(Clicks(), store, "a/1", "a/0")

    assert ["a/1", "a/0"] == list(labels)
    for unit, number in (("a/0", 1), ("a/1", 2)):
        expected = np.where(PICTURES["a"] == number, number, IGNORE)
        assert 4.0 == labels[unit].cost
        np.testing.assert_array_equal(expected, read(labels[unit].value))


@pytest.mark.parametrize("options", [{}, {"holes": "traced"}, {"tolerance": 3, "background": 0}])
def test_all_regions_together_are_the_image(store, options):
    """Buying an image region by region must cost and give the same."""
    oracle = Clicks(**options)
    for image, regions in oracle.regions(store, list(PICTURES)).items():
        units = [f"{image}/{number}" for number in range(len(regions))]
        whole = answer(oracle, store, image)[image]
        parts = answer(oracle, store, *units)
        bought = np.any([region.mask() for region in regions] or [np.zeros(SHAPE, bool)], axis=0)

        assert whole.cost == sum(label.cost for label in parts.values())
        assert whole.cost == oracle.costs(store, [image])[0]
        np.testing.assert_array_equal(
            [label.cost for label in parts.values()], oracle.costs(store, units)
        )
        for unit, region in zip(units, regions, strict=True):
            covered = read(parts[unit].value) != IGNORE
            np.testing.assert_array_equal(region.mask(), covered)
        painted = paint(regions, SHAPE)
        np.testing.assert_array_equal(bought, painted != IGNORE)
        np.testing.assert_array_equal(painted[bought], read(whole.value)[bought])


@pytest.mark.parametrize(
    ("options", "hole", "cost"),
    [
        ({}, 1, 8),
        ({"void": "kept"}, IGNORE, 8),
        ({"background": 0}, 1, 4),
        ({"background": 0, "void": "kept"}, IGNORE, 4),
        ({"background": 0, "holes": "traced", "tolerance": 0}, IGNORE, 8),
    ],
)
def test_void_and_background(store, options, hole, cost):
    """Void outside of all polygons is no background; void under one is as the option says."""
    label = answer(Clicks(**options), store, "b")["b"]
    expected = PICTURES["b"].copy()
    expected[30:35, 30:35] = hole

    assert cost == label.cost
    np.testing.assert_array_equal(expected, read(label.value))


def test_the_background_is_one_of_the_classes(store):
    """It would be found out with the first purchase, and the user's masks be blamed."""
    Clicks(background=2).check(store.card)
    Clicks().check(store.card)
    Simulated().check(store.card)
    with pytest.raises(UsageError, match="oracle.background: 3 is no class of toy, .* 0 to 2; set"):
        Clicks(background=3).check(store.card)
    Clicks(background=None).check(store.card)


def test_nothing_to_label_costs_nothing(store):
    """A budget would be spent on it, or the run would stop."""
    oracle = Clicks()

    assert 0.0 == answer(oracle, store, "void")["void"].cost
    assert (read(answer(oracle, store, "void")["void"].value) == IGNORE).all()
    assert {"void": []} == oracle.regions(store, ["void"])


def test_ids_with_slashes_are_images_first(store):
    """An image in a folder would be taken for a region."""
    costs = Clicks().costs(store, ["street/0", "street/0/0", "a", "street/0"])

    assert [4.0, 4.0, 8.0, 4.0] == costs.tolist()
    assert 4.0 == answer(Clicks(), store, "street/0")["street/0"].cost


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("c", "'c' is neither an image"),
        ("a/x", "'a/x' is neither an image"),
        ("a/01", "'a/01' is neither an image"),
        ("street", "'street' is neither an image"),
        ("a/2", "'a/2': this image has 2 regions"),
        ("void/0", "'void/0': this image has 0 regions"),
    ],
)
def test_unknown_units_are_named(store, unit, message):
    """Another dataset or other options than those that chose must not end in a traceback."""
    with pytest.raises(DataError, match=message):
        answer(Clicks(), store, unit)
    with pytest.raises(DataError, match=message):
        Clicks().costs(store, ["a", unit])
    assert {"a", "street/0"} == answer(Clicks(), store, "a", "street/0").keys()


def test_a_region_has_no_regions(store):
    """The ids made of it would be of nothing."""
    with pytest.raises(DataError, match="'a/0' is a region; ask for those of 'a'"):
        Clicks().regions(store, ["b", "a/0"])
    assert {"b", "a"} == Clicks().regions(store, ["b", "a"]).keys()


def test_who_knows_no_regions_names_an_oracle_that_does(store):
    """Regions would be asked of images that are labeled as a whole."""
    with pytest.raises(UsageError, match="'simulated' knows no regions; use oracle: clicks"):
        Simulated().regions(store, ["a"])
    assert Clicks().has_regions() and Clicks().regions(store, ["a"])["a"]


def test_an_image_without_a_mask_is_left_out(store, monkeypatch):
    """A store of another rayal, or one that somebody changed: which image is it?"""
    monkeypatch.setattr(module, "_memory", module._Memory())
    whole = Store.labels
    with monkeypatch.context() as lost:
        lost.setattr(
            Store,
            "labels",
            lambda self, split, ids: {k: v for k, v in whole(self, split, ids).items() if k != "a"},
        )
        with pytest.raises(DataError, match="image 'a' of .* has no mask; leave it out"):
            Clicks().costs(store, ["b", "a"])
        assert 1 == len(Clicks().costs(store, ["b"]))


def test_masks_are_not_drawn_in_turns(store, tiny):
    """`budget.balanced` has no classes to balance."""
    balanced = {"initial": 2, "per_cycle": 1, "total": 3, "balanced": True}
    with pytest.raises(UsageError, match="labels are masks, not classes of images; set it to fal"):
        first_units(tiny(budget=balanced), store)
    assert 2 == len(first_units(tiny(budget={**balanced, "balanced": False}), store))


def test_classes_of_images_cannot_be_drawn(tmp_path: Path):
    """The message must say that this dataset needs another oracle."""
    pool = numbered("train", [0, 1], np.zeros((2, 3, 4, 4), np.uint8))
    test = numbered("test", [0], np.zeros((1, 3, 4, 4), np.uint8))
    prepare(Source(["a", "b"], pool, test, origin="", licence=""), tmp_path, "toy", "", None)

    classes = Store(str(tmp_path))
    with pytest.raises(UsageError, match="oracle clicks needs masks"):
        Clicks().costs(classes, classes.pool.ids())
    assert [1, 1] == Simulated().costs(classes, classes.pool.ids()).tolist()


def test_options_are_part_of_what_is_remembered(store):
    """Two experiments of one process would pay each other's prices."""
    costs = [Clicks(tolerance=t).costs(store, ["a", "b"]).sum() for t in (40, 10, 40)]

    assert costs[0] == costs[2] < costs[1]


def test_memory_is_bounded_and_changes_nothing(store, monkeypatch):
    """A large pool would fill the memory; regions that were forgotten are computed again."""
    expected = Clicks().costs(store, list(PICTURES)).tolist()
    memory = module._Memory()
    monkeypatch.setattr(module, "ROOM", 4)
    monkeypatch.setattr(module, "_memory", memory)
    regions = [Clicks().regions(store, list(PICTURES)) for _ in range(2)]

    clicks = [[sum(each.clicks for each in found) for found in one.values()] for one in regions]
    assert [expected, expected] == clicks
    assert sum(1 + len(found) for found in memory._regions.values()) == memory._size <= 4


@pytest.mark.parametrize("room", [4, 10**6])
def test_masks_are_read_once(store, monkeypatch, room):
    """Costs of the whole pool are asked in every cycle; decoding all masks takes minutes."""
    monkeypatch.setattr(module, "_memory", module._Memory())
    monkeypatch.setattr(module, "ROOM", room)
    oracle = Clicks()
    first = oracle.costs(store, list(PICTURES))
    monkeypatch.setattr(module, "decode", None)

    np.testing.assert_array_equal(first, oracle.costs(store, list(PICTURES)))


def test_a_broken_mask_is_named(store, monkeypatch):
    """Somebody has to find the file."""
    monkeypatch.setattr(module, "_memory", module._Memory())
    monkeypatch.setattr(Store, "labels", lambda self, split, ids: {ids[0]: b"no mask"})

    with pytest.raises(DataError, match="mask of 'a'"):
        Clicks().costs(store, ["a"])


def test_answers_are_in_the_geometry_that_networks_see(store, monkeypatch):
    """The image is resized while its mask, in rayal's coding, must not be resized again."""
    monkeypatch.setattr(module, "_memory", module._Memory())
    small = store.card.model_copy(update={"decoding": Decoding(shape=(35, 45))})
    resized = Store(store.url)
    monkeypatch.setitem(resized.__dict__, "card", small)
    label = answer(Clicks(tolerance=5), resized, "a")["a"]
    mask = decode(label.value, MASKS, small.decoding)

    assert (35, 45) == mask.shape
    np.testing.assert_array_equal(PICTURES["a"][1::2, 1::2], mask)
    assert label.value == encode(mask)


def test_options_are_those_of_the_configuration():
    """`oracle: {name: clicks, tolerance: 20}` is what the run folder records."""
    oracle = Clicks(tolerance=20, background=0)

    assert {"name": "clicks", **ClickModel(tolerance=20, background=0).model_dump()} == (
        oracle.model_dump()
    )
