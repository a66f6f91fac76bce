"""A script, or the cells of a notebook, that defines parts and runs an experiment with them.

python own_parts.py OUT [CYCLE]     # stops when this cycle begins to train
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import rayal
from rayal.training.schemes.supervised import Supervised


class Surprise(rayal.Strategy):
    """1 - the largest probability, to a power."""

    needs = frozenset({"probs"})
    power: float = 1.0

    def score(self, s: rayal.Signals) -> Tensor:
        return (1 - s.probs.max(dim=1).values) ** self.power


class Last(rayal.Strategy):
    """The units that come last."""

    def select(self, pool: rayal.Candidates, budget: float, rng: np.random.Generator) -> list[str]:
        return sorted(pool.ids)[-int(budget) :]


class Blobs(rayal.Dataset):
    """Spots of light: left or right."""

    brightness: int = 200

    def files(self) -> list[str]:
        return []

    def source(self) -> rayal.Source:
        rng = np.random.default_rng(0)

        def units(split: str, count: int) -> rayal.Units:
            labels = rng.integers(2, size=count)
            images = rng.integers(40, size=(count, 1, 8, 8)).astype(np.uint8)
            for image, label in zip(images, labels, strict=True):
                image[0, 2:6, 4 * label : 4 * label + 4] += np.uint8(self.brightness)
            return rayal.Units([f"{split}-{i:03d}" for i in range(count)], labels, images)

        return rayal.Source(["left", "right"], units("pool", 120), units("test", 40), "here", "CC0")


class Tiny(rayal.Model):
    """One block."""

    width: int = 4

    def network(self, num_classes: int, image: rayal.ImageSpec) -> nn.Module:
        block = nn.Sequential(nn.Conv2d(image.channels, self.width, 3, padding=1), nn.ReLU())
        return rayal.Network(
            blocks=[block],
            layer_channels=[self.width],
            head=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
            classifier=nn.Linear(4 * self.width, num_classes),
        )


class Gentle(Supervised):
    """The usual training with a smaller step."""

    lr: float = 0.02


class Friend(rayal.Oracle):
    """Knows the answers."""

    def answer(self, store: Any, ids: Any, out: Any) -> dict[str, rayal.Label]:
        labels = store.labels("pool", ids)
        return {unit: rayal.Label(labels[unit], 1.0) for unit in ids}


def own_experiment(**fields: Any) -> rayal.Experiment:
    return rayal.Experiment(
        **{
            "name": "own",
            "dataset": Blobs(),
            "model": Tiny(),
            "scheme": Gentle(epochs=2, batch_size=8),
            "strategy": Surprise(power=2.0),
            "observers": [Last()],
            "oracle": "__main__.Friend",
            "budget": {"initial": 10, "per_cycle": 10, "total": 20},
            "compute": {"engine": "local", "cpus_per_worker": 1, "device": "cpu"},
            "tracking": "none",
            **fields,
        }
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    stop = int(sys.argv[2]) if len(sys.argv) > 2 else None

    def on_event(event: rayal.Event) -> None:
        if (event.what, event.stage, event.cycle) == ("begun", "train", stop):
            raise KeyboardInterrupt

    run = rayal.run(own_experiment(), sys.argv[1], on_event=on_event)
    assert run.experiment == own_experiment()
    assert isinstance(run.model(), nn.Module)
