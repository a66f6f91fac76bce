"""Passes over images in the training's random changes: drawn for each unit, and for no place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayal.cycle.first_choice import as_strategy, untrained
from rayal.cycle.score import ScoreJob
from rayal.cycle.scorer import Scorer
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder
from rayal.training.augment import normalise
from tests.support.doubles import small_strategy
from tests.support.whole_runs import chosen, stopped_at

UNITS = 40
FLIP = {"name": "supervised", "epochs": 2, "batch_size": 16, "lr": 0.05, "augment": {"flip": True}}
MUCH = FLIP | {"augment": {"flip": True, "crop": 2, "cutout": 3, "mirror": True}}

Tiny = Callable[..., Experiment]


@pytest.fixture(scope="module")
def store(tiny: Tiny) -> Store:
    return tiny().dataset.open()


def job_of(x: Experiment, store: Store, folder: Path, cycle: int = 1) -> ScoreJob:
    """The pass of a cycle in which the model has not changed."""
    weights = untrained(x, store, Folder(folder / f"seed-{x.seed}"))
    return ScoreJob.of(x, store, cycle, weights, str(folder), previous=weights)


def images_of(store: Store, rows: slice = slice(0, UNITS)) -> tuple[list[str], Any]:
    decoded = store.pool.decode(store.pool.take(store.pool.ids()[rows]))
    return decoded.ids, decoded.images


def seen(job: ScoreJob, store: Store, rows: slice = slice(0, UNITS)) -> Tensor:
    """What strategies see of these units."""
    ids, images = images_of(store, rows)
    return Scorer(job, "cpu")._signals(ids, images, None, None).images


def test_every_image_is_as_it_is_or_mirrored(tiny: Tiny, store: Store, tmp_path: Path) -> None:
    """By hand: with `flip` alone an image has two looks, each about as often."""
    x = tiny(scheme=FLIP, score_transform="train")
    actual = seen(job_of(x, store, tmp_path), store)
    plain = normalise(torch.from_numpy(images_of(store)[1]), store.card.image)
    mirrored = [torch.equal(one, other) for one, other in zip(actual, plain.flip(-1), strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(actual, plain, strict=True)]

    assert all(np.logical_or(mirrored, kept)) and 10 < sum(mirrored) < 30
    assert torch.equal(plain, seen(job_of(tiny(scheme=FLIP), store, tmp_path), store))


def test_units_are_changed_alike_whatever_the_batch(
    tiny: Tiny, store: Store, tmp_path: Path
) -> None:
    """A unit's score would be a matter of its place; and two cycles, or seeds, would see the same
    changes again."""
    x = tiny(scheme=MUCH, score_transform="train")
    job = job_of(x, store, tmp_path)
    whole = seen(job, store)
    parts = [seen(job, store, slice(start, start + 7)) for start in range(0, UNITS, 7)]

    assert torch.equal(whole, torch.cat(parts)[:UNITS])
    assert torch.equal(whole, seen(job_of(x, store, tmp_path), store))
    for other in (job_of(x, store, tmp_path, cycle=2), job_of(_seeded(x), store, tmp_path)):
        assert not torch.equal(whole, seen(other, store)) and job.digest != other.digest
    plain = job_of(tiny(scheme=MUCH), store, tmp_path)
    assert not torch.equal(whole, seen(plain, store)) and job.digest != plain.digest


def _seeded(x: Experiment) -> Experiment:
    return x.model_copy(update={"seed": x.seed + 1})


def test_both_models_see_the_same_image(tiny: Tiny, store: Store, tmp_path: Path) -> None:
    """COD of a model that has not changed is 0; it would be that of two looks of an image."""
    x = tiny(scheme=MUCH, strategy="cod", score_transform="train")
    scorer = Scorer(job_of(x, store, tmp_path), "cpu")
    decoded = store.pool.decode(store.pool.take(store.pool.ids()[:UNITS]))

    assert not scorer.columns(decoded)["score.cod"].any()
    assert not x.keeps_probs(0) and tiny(scheme=MUCH, strategy="cod").keeps_probs(0)


@pytest.mark.parametrize("strategy", ["cod", "core_set", "epmcm", "random"])
def test_batches_and_shards_do_not_choose(tiny: Tiny, tmp_path: Path, strategy: str) -> None:
    """A larger GPU or another machine would label other images (G11)."""

    def run(name: str, score_transform: str = "train", **compute: int) -> list[list[str]]:
        x = tiny(
            dataset={"name": "digits", "limit_pool": 200, "limit_test": 20},
            scheme=MUCH,
            strategy=small_strategy(strategy),
            score_transform=score_transform,
            compute={"engine": "local", "cpus_per_worker": 1, **compute},
        )
        return chosen(stopped_at(x, tmp_path / name, 2, "train"))

    whole = run("whole", score_batch=256, shard_rows=1024)

    assert [20, 20] == [len(ids) for ids in whole]
    assert whole == run("parts", score_batch=32, shard_rows=64)
    assert (strategy == "random") == (whole == run("plain", "test", score_batch=256))


def test_where_it_makes_no_sense(tiny: Tiny) -> None:
    """Regions would be bought that nobody has looked at, an option would do nothing, or a fit be
    asked about pieces."""
    with pytest.raises(ValueError, match=r"scheme.augment changes nothing; use test, or set"):
        tiny(score_transform="train")
    assert tiny(score_transform="train", scheme=FLIP).score_transform == "train"
    assert tiny(score_transform="test").score_transform == "test"

    window = FLIP | {"augment": {"window": [6, 6]}}
    vaal = small_strategy("vaal")
    with pytest.raises(ValueError, match="train, but the vaal .* knows whole images"):
        tiny(score_transform="train", scheme=window, strategy=vaal)
    tiny(score_transform="train", scheme=FLIP | {"augment": {"crop": 1}}, strategy=vaal)
    tiny(score_transform="train", scheme=window, strategy="entropy")

    dense = {
        "dataset": {"name": "camvid", "root": "."},
        "model": "small_segmenter",
        "task": "segmentation",
        "scheme": {"name": "supervised", "augment": {"flip": True}},
        "strategy": "entropy",
    }
    with pytest.raises(ValueError, match="train, but task 'segmentation' scores pixels.*use test"):
        tiny(score_transform="train", **dense)
    assert tiny(score_transform="test", **dense).task.dense


def test_runs_of_before_go_on(tiny: Tiny) -> None:
    """A field that was added would make every run another experiment, or pass for none."""
    plain, drawn = tiny(scheme=FLIP), tiny(scheme=FLIP, score_transform="train")

    assert "score_transform" not in plain.identity()
    assert "train" == drawn.identity()["score_transform"]


def test_first_units_are_chosen_by_images_as_they_are(tiny: Tiny, store: Store) -> None:
    """Arms that differ in this would begin with other units."""
    x = tiny(scheme=FLIP, score_transform="train", first="core_set")

    assert "test" == as_strategy(x, store.card).score_transform
