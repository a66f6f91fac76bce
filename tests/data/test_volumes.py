"""Volumes, float32 C D H W, on the way from a source to a network: the same numbers everywhere."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from rayal.data.bad_image import BadImage
from rayal.data.card import ImageSpec
from rayal.data.datasets.simulated_subtomograms import SimulatedSubtomograms
from rayal.data.images import Decoding
from rayal.data.in_memory import in_memory
from rayal.data.pool import Decoded
from rayal.data.pool.source import open_pool
from rayal.data.prepare import prepare
from rayal.data.source import Source, Units
from rayal.data.store import Store
from rayal.engine.shard_rows import decoded_of, with_decoded
from rayal.errors import DataError, UsageError
from rayal.report.slices import shown
from rayal.storage.folder import Folder
from rayal.training.images import open_images

SHAPE = (1, 3, 4, 5)
RNG = np.random.default_rng(0)
VOLUMES = RNG.normal(40, 7, (6, *SHAPE)).astype(np.float32)
PICTURES = ImageSpec.of((3, 8, 8), (0.5,) * 3, (0.25,) * 3)


def prepared(out: Path, images: list[object]) -> Store:
    """A store of these in the pool, and of two more in the test split."""
    out.mkdir(exist_ok=True)
    pool = Units([f"unit-{row}" for row in range(len(images))], [0] * len(images), images)
    test = Units(["test-0", "test-1"], [0, 0], list(VOLUMES[:2]))
    prepare(Source(["all"], pool, test, "made up", "free"), out, "volumes", "0" * 64, None)
    return Store(str(out))


def test_a_store_keeps_every_bit(tmp_path: Path) -> None:
    """Densities would be rounded on the way, or axes be exchanged."""
    store = prepared(tmp_path / "store", list(VOLUMES))
    image, found = store.card.image, store.pool.decode(store.pool.take(store.pool.ids()))

    assert (SHAPE, (3, 4, 5), "float32") == (image.shape, image.sides, image.numbers)
    assert 4 * 60 == image.byte_count and "C, D, H, W" == image.axes
    assert VOLUMES.tobytes() == found.images.tobytes() and np.float32 == found.images.dtype
    assert VOLUMES.mean() == pytest.approx(image.mean[0], rel=1e-6)
    assert VOLUMES.std() == pytest.approx(image.std[0], rel=1e-5)
    assert {"3x4x5": 8} == store.card.sizes and 2 == store.card.duplicates["across"]


def test_a_part_of_a_shard_begins_where_it_should(tmp_path: Path) -> None:
    """An offset that is counted in numbers, not in bytes, gives the ends of other volumes."""
    store = prepared(tmp_path / "store", list(VOLUMES))
    rows = store.pool.take(store.pool.ids())
    sliced = pa.Table.from_batches(rows.to_batches())[2:5]

    assert np.array_equal(VOLUMES[2:5], store.pool.decode(sliced).images)


def test_trainings_see_the_same_from_memory_and_disk(tmp_path: Path) -> None:
    """A larger labeled set would train on other numbers."""
    store = prepared(tmp_path / "store", list(VOLUMES))
    ids, spec = store.pool.ids(), store.card.image
    places = [torch.tensor([4, 1]), torch.tensor([0])]
    for size in (len(ids) * spec.byte_count, len(ids) * spec.byte_count - 1):
        items = open_images(store.pool, ids, spec, torch.device("cpu"), size)
        first, second = items.batches(places)

        assert np.array_equal(VOLUMES[[4, 1]], first.numpy())
        assert np.array_equal(VOLUMES[[0]], second.numpy())


def test_shards_travel_as_they_are() -> None:
    """On Ray a scorer would read floats as eight-bit pixels."""
    for images in (VOLUMES, (VOLUMES[:, 0] * 2).astype(np.uint8)):
        decoded = Decoded([f"unit-{row}" for row in range(6)], images, {"bad": "why"})
        arrived = decoded_of(with_decoded(pa.table({"a": [1]}), decoded))

        assert arrived is not None and images.dtype == arrived.images.dtype
        assert np.array_equal(images, arrived.images)


def test_reasons_and_numbers_that_are_none(tmp_path: Path) -> None:
    """A volume that cannot be read would be trained on as zeros, or its reason be lost; one NaN
    makes all weights NaN."""
    infinite = VOLUMES[1].copy()
    infinite[0, 0, 0, 0] = np.inf
    store = prepared(tmp_path / "store", [VOLUMES[0], infinite, BadImage("cut off"), None])
    bad = store.pool.decode(store.pool.take(store.pool.ids())).bad

    assert {
        "unit-1": "holds numbers that are not finite",
        "unit-2": "cut off",
        "unit-3": "no data (null)",
    } == bad
    assert VOLUMES[0].mean() == pytest.approx(store.card.image.mean[0], rel=1e-6)


@pytest.mark.parametrize(
    "image",
    [VOLUMES[0].astype(np.uint8), VOLUMES[0].astype(np.float64), VOLUMES[0, 0], VOLUMES[0, 0, 0]],
)
def test_other_kinds_of_arrays_are_refused(tmp_path: Path, image: np.ndarray) -> None:
    """Float pictures would be divided by 255; what the message names is taken."""
    with pytest.raises(
        DataError, match="give uint8 arrays C H W, float32 arrays C D H W, or float16 arrays C"
    ):
        prepared(tmp_path / "store", [image])
    assert 1 == len(prepared(tmp_path / "other", [VOLUMES[0]]).pool)


def test_other_sides_are_named(tmp_path: Path) -> None:
    """A network takes one shape."""
    other = np.zeros((1, 3, 4, 6), np.float32)
    with pytest.raises(UsageError, match="'unit-1' is 3x4x6, the first is 3x4x5; give arrays of"):
        prepared(tmp_path / "store", [VOLUMES[0], other])


def test_pictures_are_identified_as_before() -> None:
    """Runs, stores and weights that were made before volumes were could not be used any more."""
    said = {"channels": 3, "height": 8, "width": 8, "mean": [0.5] * 3, "std": [0.25] * 3}

    assert said == PICTURES.model_dump(mode="json") and PICTURES == ImageSpec.model_validate(said)
    volume = ImageSpec.of(SHAPE, (0.0,), (1.0,), "float32")
    assert volume == ImageSpec.model_validate_json(volume.model_dump_json())


def test_files_of_a_pool_hold_no_volumes(tmp_path: Path) -> None:
    """Pictures would be fed to a network of volumes. A dataset is what the message names."""
    spec = ImageSpec.of((1, 8, 8, 8), (0.0,), (1.0,), "float32")
    listing = Folder(str(tmp_path / "listing"))
    with pytest.raises(UsageError, match="the model sees volumes .1, 8, 8, 8. .C, D, H, W."):
        open_pool(str(tmp_path), decoding=Decoding(), spec=spec, listing=listing)
    dataset = SimulatedSubtomograms(size=8, pool=4, test=2, store=str(tmp_path / "stores"))
    url = dataset.open().url
    pool = open_pool(url, decoding=Decoding(), spec=spec, listing=listing)

    assert 4 == pool.rows
    with pytest.raises(UsageError, match=r"are \(1, 8, 8, 8\) \(C, D, H, W\), the model sees"):
        open_pool(url, decoding=Decoding(), spec=PICTURES, listing=listing)


def test_volumes_in_memory() -> None:
    """Axes would be taken for others."""
    for images in (VOLUMES, torch.from_numpy(VOLUMES), [(volume, 0) for volume in VOLUMES]):
        found = in_memory(images, channels=1).rows(slice(1, 3))

        assert np.array_equal(VOLUMES[1:3], found.numpy())
    for options in ({"layout": "NHWC"}, {"channels": 3}):
        with pytest.raises(UsageError, match="are volumes N C D H W.*; give volumes so"):
            in_memory(VOLUMES, **options)


def test_a_volume_is_shown_by_its_middle_plane() -> None:
    """A gallery would show the edge of a box, or nothing but grey."""
    volume = np.zeros((1, 5, 2, 2), np.float32)
    volume[0, 2] = [[-4, 0], [4, 2]]
    picture = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)

    assert [[0, 128], [255, 191]] == shown(volume)[..., 0].tolist()
    assert (2, 2, 3) == shown(volume).shape
    assert np.array_equal(picture.transpose(1, 2, 0), shown(picture))
    assert 0 == shown(np.full((1, 3, 2, 2), 7, np.float32)).max()
