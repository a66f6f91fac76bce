"""What trainings and fits have in common: they are done in rounds, on workers that share each step.

A round is an epoch of a training, or some steps of a fit. What was begun before continues after the
last round that a checkpoint holds.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from rayal.experiment.experiment import Experiment
from rayal.models import parallel
from rayal.models.device import sent
from rayal.randomness import Key, derive
from rayal.runs.result import Result
from rayal.storage.folder import FileRecord, Folder
from rayal.training.checkpoint import Checkpoints, state_of

R = TypeVar("R", bound=Result, covariant=True)

LOG_SECONDS = 2.0  # least time between two writes of the rows


@dataclass(frozen=True)
class Worker:
    """Where this worker runs. The caller brings the workers together where `size` is above 1."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    threads: int | None = None
    """Torch threads of this process; null leaves them as they are."""


class Job(Protocol[R]):
    """What a group of workers does together in rounds; picklable for the way to them."""

    @property
    def experiment(self) -> Experiment: ...

    @property
    def store(self) -> str:
        """Where the images are."""

    @property
    def out(self) -> str:
        """The folder of its files."""

    def run(self, worker: Worker) -> R | None:
        """Does it on one of the workers; worker 0 returns the result."""


class Learns(Protocol):
    """What rounds change."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RoundLog:
    """What worker 0 writes as it goes: a row per round, and checkpoints."""

    def __init__(self, out: Folder, file: str, checkpoint_seconds: float) -> None:
        """`file`: the name of that with the rows, JSON lines."""
        self.out, self.file, self.checkpoints = out, file, Checkpoints(out)
        self.checkpoint_seconds = checkpoint_seconds
        self.rows: list[dict[str, float]] = []
        self.logged = self.saved = monotonic()

    def complete(
        self,
        learner: Learns,
        worker: Worker,
        rounds: int,
        work: Callable[[int], dict[str, float]],
        enough: Callable[[int], bool] = lambda done: False,
    ) -> None:
        """All rounds from where the newest checkpoint is: `work` does one of them, counted from 0,
        and returns its row, the same on all workers; `enough` says, likewise, whether so many done
        are all."""
        self.resume(learner, worker)
        for number in range(len(self.rows), rounds):
            if enough(number):
                return
            parallel.check_same(number, "round", torch.device(worker.device))
            self.rows.append(work(number))
            if worker.rank == 0:
                self.write(learner)

    def resume(self, learner: Learns, worker: Worker) -> None:
        """Puts the learner where the newest whole checkpoint left it; else changes nothing.

        Worker 0 alone looks for it and hands it on: another could see an older listing.
        """
        own = self.checkpoints.newest() if worker.rank == 0 else None
        checkpoint = parallel.first_bytes(own or b"", torch.device(worker.device))
        if checkpoint:
            state = state_of(checkpoint)
            learner.load_state_dict(state["learner"])
            self.rows = state["rows"]

    def write(self, learner: Learns) -> None:
        """Brings the rows and the checkpoint up to date, where they are old enough."""
        if monotonic() - self.logged >= LOG_SECONDS:
            self.write_rows()
        if monotonic() - self.saved >= self.checkpoint_seconds:
            state = {"learner": learner.state_dict(), "rows": self.rows}
            self.checkpoints.save(len(self.rows), state)
            self.saved = monotonic()

    def write_rows(self) -> FileRecord:
        """Writes their file whole."""
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        self.logged = monotonic()
        return self.out.write(self.file, lines.encode())


class Means:
    """Means of what was noted in a round, by name, each over the units of the batches that had it.
    They are summed where they are computed: asking a device for a number would wait for it."""

    def __init__(self) -> None:
        self._counts, self._sums = Counter[str](), dict[str, Tensor]()

    def add(self, noted: Mapping[str, Tensor], count: int) -> None:
        """Scalars, each the mean over `count` units of this worker."""
        for name, mean in noted.items():
            self._counts[name] += count
            self._sums[name] = self._sums.get(name, 0) + mean.double() * count

    def of_all_workers(self) -> tuple[int, dict[str, float]]:
        """How many units had a loss on all workers, and the means."""
        names, totals = list(self._sums), torch.stack(list(self._sums.values()))
        counts = torch.tensor([self._counts[name] for name in names], dtype=totals.dtype)
        totals = torch.stack([totals, sent(counts, totals.device)])
        values, units = parallel.total(totals).cpu().tolist()
        means = {name: v / n for name, v, n in zip(names, values, units, strict=True)}
        return int(units[names.index("loss")]), means


@contextmanager
def seeded(device: torch.device, *key: Key) -> Iterator[None]:
    """Torch's global generators seeded by a key for a while, then back where they were."""
    gpus = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(derive(*key))
        if gpus:
            torch.cuda.manual_seed_all(derive(*key))
        yield
