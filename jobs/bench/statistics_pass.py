"""A generated pool and models on disk for scoring passes of any strategies, EPMCM's too."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import torch
from scoring_pass import ScoringPass

from rayal.cycle import shard_file
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.companions.class_statistics import ClassStatisticsSpec
from rayal.models.weights import save_weights
from rayal.signals.networks import forward
from rayal.storage.folder import Folder, Json
from rayal.storage.stage_file import FileLocation


class StatisticsPass(ScoringPass):
    """As there, in this process, with class statistics beside the model."""

    def __init__(self, folder: Path, units: int, width: int, batch: int) -> None:
        self.width, self.batch = width, batch
        super().__init__(folder, units)
        self.engine = Engine(self.experiment("entropy").compute)
        self.engine.statistics = self._statistics()
        self.kept = self.score(self.engine, units, "cod")

    def experiment(self, *strategies: str, limit: int | None = None) -> Experiment:
        x = super().experiment(*strategies, limit=limit)
        model = x.model.model_copy(update={"width": self.width})
        compute = x.compute.model_copy(update={"score_batch": self.batch})
        return x.model_copy(update={"model": model, "compute": compute})

    def later(self, *strategies: str) -> str:
        """A pass of a later cycle over the whole pool; returns the folder of its shards."""
        return self.score(self.engine, self.units, *strategies, cycle=1)

    def _statistics(self) -> FileLocation:
        """Of some images of the pool under arbitrary labels: it is the time that counts."""
        images = self.normalised(0)
        statistics = ClassStatisticsSpec().build(self.model, 10, lambda: self.model)
        statistics.observe(forward(self.model, images), torch.arange(len(images)) % 10)
        out = Folder(self.folder / "companions")
        return FileLocation(
            out.url, out.write("class_statistics.safetensors", save_weights(statistics))
        )


class Engine(LocalEngine):
    """Hands the statistics to every job."""

    statistics: FileLocation

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[Json]:
        return super().score(
            replace(job, companions={ClassStatisticsSpec.name: self.statistics}), tasks
        )


def column(folder: str, strategy: str) -> pa.Table:
    """The ids of a pass and their scores by one strategy."""
    shards = Folder(folder)
    names = ["id", f"score.{strategy}"]
    tables = [shard_file.read_shard(shards, file, names) for file in sorted(shards.names())]
    return pa.concat_tables(table.replace_schema_metadata() for table in tables)
