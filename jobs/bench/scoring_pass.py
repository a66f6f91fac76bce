"""A generated pool and models on disk, for scoring passes and for the same by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rayal.cycle.engine import Engine
from rayal.cycle.score import ScoreJob, divide
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.signals.batch import entropy
from rayal.signals.networks import forward
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.training.augment import normalise

SIZE = 32


class ScoringPass:
    """A generated pool and two models on disk, as a run leaves them."""

    def __init__(self, folder: Path, units: int) -> None:
        self.folder, self.units, self.passes = folder, units, 0
        self.kept: str | None = None
        """Folder of a pass that kept its predictions, once there is one."""
        _write_pool(folder / "images", 4 * units)
        self.store = self.experiment("entropy").dataset.open()
        self.weights = [self._save(seed) for seed in (1, 2)]
        table = self.store.pool.take(self.store.pool.ids())
        self.images = torch.from_numpy(self.store.pool.decode(table).images.copy())
        self.model = self._network(1)

    def experiment(self, *strategies: str, limit: int | None = None) -> Experiment:
        first, *observers = strategies
        return Experiment.model_validate(
            {
                "name": "bench",
                "dataset": {
                    "name": "parquet",
                    "root": str(self.folder / "images"),
                    "store": str(self.folder / "stores"),
                    "pool": ["pool.parquet"],
                    "test": ["test.parquet"],
                    "limit_pool": limit,
                },
                "model": {"name": "resnet18", "width": 32},
                "strategy": first,
                "observers": observers,
                "budget": {"initial": 1, "per_cycle": 1, "total": 2},
                "compute": {"shard_rows": 512, "device": "cpu"},
                "tracking": "none",
            }
        )

    def score(self, engine: Engine, units: int, *strategies: str, cycle: int = 0) -> str:
        """One pass over the first `units` images; returns the folder of its shards."""
        x = self.experiment(*strategies, limit=units)
        store = x.dataset.open()
        out = self.folder / f"pass-{self.passes}"
        self.passes += 1
        job = ScoreJob.of(
            x,
            store,
            cycle,
            self.weights[0],
            str(out),
            previous=self.weights[1],
            previous_scores=self.kept if cycle else None,
        )
        tasks = divide(store.pool, store.pool.ids(), x.compute.shard_rows)
        done = sum(result.rows for result in engine.score(job, tasks))
        assert done == units, f"scored {done} of {units}"
        return str(out)

    def plain_loop(self, units: int) -> torch.Tensor:
        """What one would write by hand: all images in memory, batch after batch."""
        scores = [
            entropy(forward(self.model, self.normalised(start)).logits.log_softmax(1))
            for start in range(0, units, 256)
        ]
        return torch.cat(scores)

    def normalised(self, start: int) -> torch.Tensor:
        return normalise(self.images[start : start + 256], self.store.card.image)

    def _network(self, seed: int) -> torch.nn.Module:
        x, card = self.experiment("entropy"), self.store.card
        return build(x.model, len(card.classes), card.image, seed).eval()

    def _save(self, seed: int) -> FileLocation:
        out = Folder(self.folder / f"weights-{seed}")
        card = self.experiment("entropy").card_for(self.store.card)
        return FileLocation(out.url, TrainedModel.of(card, self._network(seed)).write(out))


def _write_pool(folder: Path, units: int) -> None:
    folder.mkdir()
    _write_images(folder / "pool.parquet", units)
    _write_images(folder / "test.parquet", 16)


def _write_images(path: Path, units: int) -> None:
    rng = np.random.default_rng(units)
    images = rng.integers(0, 256, (units, 3, SIZE, SIZE), np.uint8)
    columns = {
        "id": pa.array([f"{path.stem}-{i:06d}" for i in range(units)]),
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        "label": pa.array(np.arange(units) % 10),
    }
    pq.write_table(pa.table(columns), path)
