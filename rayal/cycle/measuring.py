"""How good the model of a cycle is: by test images or, where there are none, by what people have
labeled; and by units that were drawn at random."""

from collections.abc import Mapping

from rayal.cycle.engine import Engine
from rayal.cycle.evaluate import EvaluateJob, Outcome
from rayal.cycle.made import Made
from rayal.cycle.offer import of_images
from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.data.tasks.base import EXPLORED, FIT, NEW
from rayal.experiment.experiment import Experiment
from rayal.runs.confusion import write_confusion
from rayal.runs.ledger import Ledger, PoolState
from rayal.runs.results import Chosen, Evaluated
from rayal.storage.folder import Folder, Json


class Measuring:
    """The evaluations of a run."""

    def __init__(self, x: Experiment, store: Store, ledger: Ledger, engine: Engine) -> None:
        self.x, self.store, self.ledger, self.engine = x, store, ledger, engine
        self.made = Made(x, ledger)

    def evaluate(self, pool: PoolState, out: Folder) -> Evaluated:
        """What is known of this cycle's model; its confusion goes into `out`."""
        if self.store.card.tested:
            job = EvaluateJob(self.x, self.store.url, self.made.weights(pool.cycle))
            said = self.engine.evaluate(job)
        else:
            said = Outcome(self._untested(pool))
        drawn = self._drawn(pool)
        if drawn is not None:
            value = self._agreeing(pool.cycle - 1, drawn)
            metrics = {**said.metrics, f"{EXPLORED}{self.x.task.headline}": value}
            said = said._replace(metrics=metrics)
        return Evaluated(
            metrics=said.metrics,
            labels=len(pool.labels),
            cost=pool.spent,
            images=self.store.card.test if self.store.card.tested else None,
            confusion=None if said.confusion is None else write_confusion(out, said.confusion),
            calibration=said.calibration,
            explored=None if drawn is None else len(drawn),
        )

    def _drawn(self, pool: PoolState) -> dict[str, LabelValue] | None:
        """Of the labels bought last those of units that were drawn at random; None where the run
        draws none."""
        if not self.x.explore:
            return None
        if pool.cycle == 0:
            return {}
        explored = self.ledger.result(pool.cycle - 1, Chosen).explored
        return {unit: pool.labels[unit] for unit in explored if unit in pool.labels}

    def _untested(self, pool: PoolState) -> Json:
        """What labels say of the models where no test images do: of the labels bought last the
        model before them, which had not seen them; and how well the model of this cycle fits all
        that it was trained on."""
        last = {u: pool.labels[u] for u, cycle in pool.bought.items() if cycle == pool.cycle - 1}
        return {
            f"{NEW}{self.x.task.headline}": self._agreeing(pool.cycle - 1, last),
            f"{FIT}{self.x.task.headline}": self._agreeing(pool.cycle, pool.labels),
        }

    def _agreeing(self, cycle: int, labels: Mapping[str, LabelValue]) -> float | None:
        """The headline of a cycle's model on these units; None where there is no model, or no
        label."""
        if cycle < 0 or not labels:
            return None
        known = of_images(labels, self.store)
        job = EvaluateJob(self.x, self.store.url, self.made.weights(cycle), known)
        value: float | None = self.engine.evaluate(job).metrics.get(self.x.task.headline)
        return value
