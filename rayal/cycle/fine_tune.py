"""After the last cycle: a whole network is trained once on the images of all labeled units.

What was chosen does not depend on it. It is a stage as the others are: a training that was killed
goes on at its checkpoint, and one that is done is not done again where its evaluation was killed.
"""

from dataclasses import dataclass

from rayal.cycle.engine import Engine
from rayal.cycle.evaluate import EvaluateJob
from rayal.cycle.offer import of_images
from rayal.cycle.train import TrainJob
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.models.build import build, load_trunk
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import decoded
from rayal.randomness import derive
from rayal.runs.ledger import PoolState
from rayal.runs.result_files import read_trained, write_trained
from rayal.runs.results import FineTuned, Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation

BEGIN = "begin.safetensors"
"""What the training begins with, until it is done: the backbone and a last layer of chance."""


@dataclass(frozen=True)
class FineTuning:
    """What is trained on which images."""

    experiment: Experiment
    """That of the images: their dataset, the network and how it is trained."""
    store: Store
    """The images, normalised as the network wants them."""
    backbone: FileLocation | None = None
    """Weights that the network begins with, but for its last layer; None: as its model says."""

    def run(self, pool: PoolState, engine: Engine, out: Folder) -> FineTuned:
        """Trains and evaluates in the folder of the stage."""
        labels = of_images(pool.labels, self.store)
        trained = read_trained(out)
        if trained is None:
            begin = self._begin(pool.cycle, out)
            job = TrainJob(
                experiment=self.experiment,
                cycle=pool.cycle,
                store=self.store.url,
                ids=tuple(labels),
                labels=tuple(labels.values()),
                start_from=begin,
                out=out.url,
                statistics=self.store.statistics,
            )
            ((_, trained),) = engine.train([job])
            write_trained(out, trained)
        out.remove(BEGIN)
        return FineTuned(
            trained=trained,
            metrics=engine.evaluate(self._evaluation(out, trained)).metrics,
            labels=len(pool.labels),
            cost=pool.spent,
            data=self.store.card.fingerprint,
            model=self.experiment.model.model_dump(mode="json"),
            backbone=None if self.backbone is None else self.backbone.record.sha256,
        )

    def _evaluation(self, out: Folder, trained: Trained) -> EvaluateJob:
        return EvaluateJob(
            self.experiment,
            self.store.url,
            FileLocation(out.url, trained.weights),
            statistics=self.store.statistics,
        )

    def _begin(self, cycle: int, out: Folder) -> FileLocation | None:
        """The same bytes in every attempt."""
        if self.backbone is None:
            return None
        x, card = self.experiment, self.store.card
        network = build(x.model, len(card.classes), card.image, derive(x.seed, cycle, "init"))
        source = f"{self.backbone.folder}/{self.backbone.record.name}"
        load_trunk(network, decoded(self.backbone.read(), source), source)
        record = TrainedModel.of(x.card_for(card), network).write(out, BEGIN)
        return FileLocation(out.url, record)
