"""A run folder that grows stage by stage, written by the real ledger without any training."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from rayal.labeling.oracles.base import Label
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated, Initial, Labeled, Scored, Trained
from rayal.storage.folder import Folder, Json
from tests.support.doubles import evaluated, trained

EXPERIMENT = {
    "name": "digits-al",
    "seed": 0,
    "dataset": {"name": "digits", "limit_pool": None},
    "task": {"name": "classification"},
    "scheme": {"name": "supervised", "lr": 0.1, "milestones": [10, 20]},
    "strategy": {"name": "cod"},
    "observers": [{"name": "entropy"}],
    "budget": {"initial": 2, "per_cycle": 2, "total": 6},
    "tracking": {"name": "mlflow"},
}
EPOCHS = 3


class GrowingRun:
    """Three cycles: 2, 4 and 6 labels, accuracy 0.5, 0.6 and 0.7."""

    def __init__(self, folder: Path, experiment: Json) -> None:
        self.folder = Folder(folder)
        self.ledger = Ledger(self.folder, {"name": experiment["name"]})
        self.experiment = experiment

    def __enter__(self) -> "GrowingRun":
        self.ledger.__enter__()
        self.folder.write("experiment.yaml", yaml.safe_dump(self.experiment).encode())
        self.ledger.once(0, Initial, lambda out: self._buy(out, -1))
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.__exit__()

    @property
    def record(self) -> Record:
        return Record(self.folder)

    def epochs(self, cycle: int, count: int) -> None:
        """A training that has come to its epoch `count`."""
        rows = [
            {"epoch": n, "loss": 1 / (n + EPOCHS * cycle), "lr": 0.1, "seconds": 1.5}
            for n in range(1, count + 1)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        self.ledger.stage(cycle, "train").write("epochs.jsonl", lines.encode())

    def train(self, cycle: int) -> None:
        self.epochs(cycle, EPOCHS)
        self.ledger.once(cycle, Trained, lambda out: trained(EPOCHS))

    def evaluate(self, cycle: int, **metrics: object) -> None:
        labels = 2 + 2 * cycle
        result = {
            "accuracy": 0.5 + 0.1 * cycle,
            "nll": 1.0,
            "per_class_accuracy": [0.25, 0.75],
            **metrics,
        }
        self.ledger.once(cycle, Evaluated, lambda out: evaluated(labels, **result))
        self.folder.write("curve.csv", b"cycle\n" + b"0\n" * (cycle + 1))

    def choose(self, cycle: int) -> None:
        def select(out: Folder) -> Chosen:
            out.write("chosen.csv", f"rank,id\n1,unit-{cycle}\n".encode())
            return Chosen(ids=(f"unit-{cycle}",))

        self.ledger.once(cycle, Scored, lambda out: Scored(units=1, columns=(), shards=()))
        self.ledger.once(cycle, Chosen, select)
        self.ledger.once(cycle, Labeled, lambda out: self._buy(out, cycle))

    def steps(self) -> Iterator[Callable[[], None]]:
        """The whole run, a stage at a time."""
        for cycle in range(3):
            yield lambda c=cycle: self.epochs(c, 1)
            yield lambda c=cycle: self.train(c)
            yield lambda c=cycle: self.evaluate(c)
            if cycle < 2:
                yield lambda c=cycle: self.choose(c)

    def finish(self) -> None:
        for step in self.steps():
            step()

    def _buy(self, out: Folder, cycle: int) -> Labeled:
        return write_labels(out, {f"unit-{cycle}-{n}": Label(0, 1.0) for n in range(2)})


@pytest.fixture
def new_run(tmp_path: Path) -> Iterator[Callable[..., GrowingRun]]:
    """`new_run("a", seed=1)`: a run in its own folder, open until the test ends."""
    with ExitStack() as stack:
        yield lambda name="run", **changes: stack.enter_context(
            GrowingRun(tmp_path / name, {**EXPERIMENT, **changes})
        )


@pytest.fixture
def run(new_run: Callable[..., GrowingRun]) -> GrowingRun:
    return new_run()
