"""The plan of a pass that keeps features says what that then takes."""

import json
from pathlib import Path

import pytest

import rayal
from rayal.errors import UsageError
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.storage.folder import Folder
from rayal.workflows.features.settings import FeaturePass
from rayal.workflows.plan.features import make_features

DIGITS = {"name": "digits", "limit_pool": 600, "limit_test": 100}


@pytest.fixture(scope="module")
def x(tmp_path_factory: pytest.TempPathFactory) -> FeaturePass:
    """A pass over 700 digits by a network whose weights are random."""
    given = rayal.Experiment(
        name="x", dataset=DIGITS, model={"name": "small_cnn", "width": 4}, strategy="random"
    )
    card = given.dataset.open().card
    place = Folder(tmp_path_factory.mktemp("weights"))
    about = ModelCard.of(given.model, card, "fp32", given.task)
    TrainedModel.of(about, build(given.model, len(card.classes), card.image, seed=3)).write(place)
    return FeaturePass(
        dataset=given.dataset,
        checkpoint=f"{place.url}/weights.safetensors",
        compute={"engine": "local", "shard_rows": 256},
    )


def test_the_vectors_are_as_large_as_planned(x: FeaturePass, tmp_path: Path) -> None:
    """A pass that fills the disk has cost hours."""
    plan = make_features(x, probe=False)
    made = rayal.features(x, tmp_path / "f")

    assert (700, made.card.image.channels) == (plan.images, plan.width)
    assert 2 * plan.width * 700 < plan.disk["vectors"]
    files = (tmp_path / "f" / "store").rglob("part-*.parquet")
    assert sum(file.stat().st_size for file in files) < 2 * plan.disk["vectors"]


def test_a_pool_of_any_size(x: FeaturePass) -> None:
    """10^8 images are planned before they are there: bytes and files grow with them, memory does
    not."""
    here, there = make_features(x, probe=False), make_features(x, probe=False, units=10**8)

    assert 10**8 + 100 == there.images and there.shards == -(-(10**8) // 256) + 1
    assert there.disk["vectors"] == (10**8 + 100) * here.disk["vectors"] // 700
    assert here.memory == there.memory


def test_time_is_that_of_some_images(x: FeaturePass) -> None:
    """Hours or days: what one has to know first."""
    here = rayal.plan(x)
    assert here.seconds is not None and here.seconds > 0

    assert "time  " in str(here) and "disk  " in str(here) and "600" not in str(here)
    told = json.loads(json.dumps(rayal.plan(x, units=1e8, device_hour_price=2).to_dict()))
    assert 10**8 + 100 == told["images"] and told["price"] > 0


@pytest.mark.parametrize("units", [0, 1.5, float("nan"), float("inf")])
def test_sizes_that_are_none(x: FeaturePass, units: float) -> None:
    """A slip of the pen would plan a pool of nothing."""
    with pytest.raises(UsageError, match="is no size of a pool; give a whole number"):
        rayal.plan(x, units=units)

    assert 1 + 100 == rayal.plan(x, units=1, probe=False).images
