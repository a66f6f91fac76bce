"""Trainings that take milliseconds: what schemes and engines are tried on."""

from functools import cache
from typing import Any
from unittest.mock import patch

from rayal.cycle.train import TrainJob
from rayal.data import prepare
from rayal.data.datasets.digits import Digits
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.storage.stage_file import FileLocation
from rayal.testing.contract import scratch
from rayal.testing.scenes import Scenes
from rayal.training.base import TrainingScheme

IMAGES = 9
"""Labeled ones: with batches of 4 one is left over, and an epoch has 2 steps."""
ROWS = 8
"""Images in a batch and in a shard: the 40 digits of a pool are 5 shards, 20 of a test split 3."""
SHORT = {"epochs": 2, "steps": None, "milestones": (1,), "batch_size": 4}
MODELS = {
    "classification": {"name": "small_cnn", "width": 4, "dropout": 0.3},
    "segmentation": {"name": "small_segmenter", "width": 4, "dropout": 0.3},
}


@cache
def prepared(masks: bool) -> Store:
    """A small dataset: scenes with masks, or 40 digits with classes."""
    folder = scratch()
    dataset = Scenes(store=folder) if masks else Digits(store=folder, limit_pool=40, limit_test=20)
    with patch.object(prepare, "GROUP_ROWS", ROWS):  # the least that a shard has
        return dataset.open()


def experiment(task: str, scheme: TrainingScheme | str = "supervised", **fields: Any) -> Experiment:
    """An experiment of this task, in one process with one thread; `fields` replace its own."""
    return Experiment.model_validate(
        {
            "name": "contract",
            "dataset": Digits() if task == "classification" else Scenes(),
            "model": MODELS[task],
            "task": task,
            "scheme": scheme,
            "strategy": "random",
            "budget": {"initial": IMAGES, "per_cycle": 1, "total": IMAGES},
            "compute": {
                "engine": "local",
                "device": "cpu",
                "checkpoint_seconds": 0,
                "shard_rows": ROWS,
                "score_batch": ROWS,
            },
            "tracking": "none",
            **fields,
        }
    )


def training(
    x: Experiment,
    out: str,
    *,
    cycle: int = 0,
    images: int | None = IMAGES,
    start_from: FileLocation | None = None,
    **of_job: Any,
) -> TrainJob:
    """A training on the first images of the pool, null: on all of them."""
    store = prepared(x.task.dense)
    ids = store.pool.ids()[:images]
    labels = store.labels("pool", ids)
    return TrainJob(
        experiment=x,
        cycle=cycle,
        store=store.url,
        ids=tuple(ids),
        labels=tuple(labels[unit] for unit in ids),
        start_from=start_from,
        out=out,
        **of_job,
    )
