"""A head on features, and the same head inside the whole network whose backbone is frozen."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.experiment.experiment import Experiment
from rayal.models.base import Model
from rayal.models.network import Network
from rayal.runs.record import Record
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from rayal.training.augment import normalise
from tests.support.whole_runs import go

FEATURES = 24


class Backbone(nn.Module):
    """A frozen network whose features are whole halves, as a file of features keeps them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        shape = FEATURES, channels, 3, 3
        self.register_buffer("filters", torch.randn(shape, generator=generator) / 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.conv2d(images, self.filters).relu()  # type: ignore[arg-type]
        return maps.amax(dim=(2, 3)).half().float()

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


class Whole(Model):
    """The frozen backbone and a linear layer, which is drawn first as that of a head is."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return Network(
            classifier=nn.Linear(FEATURES, num_classes),
            stem=Backbone(image.channels),
            blocks=[nn.Identity()],
            layer_channels=[FEATURES],
            head=nn.Identity(),
        )


def experiment(dataset: Any, model: Any) -> Experiment:
    return Experiment(
        name="frozen",
        dataset=dataset,
        model=model,
        strategy="badge",
        observers=("margin", "core_set", "entropy_gradnorm"),
        scheme={"epochs": 4, "optimizer": "adamw", "lr": 0.02, "batch_size": 16},
        budget={"initial": 30, "per_cycle": 20, "total": 90},
        compute={"engine": "local", "cpus_per_worker": 1},
        tracking="none",
    )


def write_features(root: Path, images: Any) -> None:
    """What the backbone says of every image, in files as anybody would write them."""
    for name, split in (("pool", images.pool), ("test", images.test)):
        pixels = torch.from_numpy(split.decode(split.take(split.ids())).images)
        vectors = Backbone(1)(normalise(pixels, images.card.image)).numpy()
        labels = images.labels(name)
        np.savez(
            root / f"{name}.npz",
            id=np.array(split.ids()),
            features=vectors,
            label=np.array([labels[unit] for unit in split.ids()]),
        )


def test_both_choose_the_same_units(tmp_path: Path) -> None:
    """Seconds on features would answer another question than hours on images."""
    digits = {"name": "digits", "limit_pool": 400, "limit_test": 100}
    whole = experiment(digits, Whole())
    write_features(tmp_path, whole.dataset.open())
    zeros, ones = (0.0,) * FEATURES, (1.0,) * FEATURES
    files = {"root": str(tmp_path), "pool": "pool.npz", "test": "test.npz"}
    features = {"name": "features", **files, "mean": zeros, "std": ones}
    go(whole, tmp_path / "whole")
    go(experiment(features, "linear_head"), tmp_path / "head")

    for cycle in range(3):
        runs = (Record(Folder(tmp_path / name)) for name in ("whole", "head"))
        first, second = (run.result(cycle, Chosen) for run in runs)
        assert first is not None and second is not None
        assert first.ids == second.ids
