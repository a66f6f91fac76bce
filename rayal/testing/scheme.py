"""The contract of a training scheme: what it promises of whole trainings, of a few steps each."""

import json
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, train
from rayal.errors import DataError
from rayal.models.trained_model import WEIGHTS
from rayal.parts import find
from rayal.runs.results import Trained
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.testing.contract import PartContract, scratch
from rayal.testing.trainings import SHORT, experiment, training
from rayal.training.base import Batch, TrainingScheme
from rayal.training.learner import Learner

CUT = 3
"""The step, from 0, at which a training is cut: in the second of its two epochs."""
TIMES = {"seconds", "images_per_second"}


class Straight(NamedTuple):
    """A training that nothing disturbed."""

    folder: str
    result: Trained
    end: dict[str, Any]
    drew: bool
    """Whether it left torch's generator where it had not been."""


class SchemeContract(PartContract):
    """What every scheme promises. It is tried with two epochs of batches of 4, on small networks,
    and a rate of 0.01 at most; all else is as its fields say."""

    part: TrainingScheme
    kind: ClassVar[str] = "scheme"

    def test_trains(self) -> None:
        """Otherwise a run would end with the weights it started from, or none."""
        for task in sorted(self.part.tasks):
            first = self._straight(task)
            start = FileLocation(first.folder, first.result.weights)
            beside = {
                name: FileLocation(first.folder, file)
                for name, file in first.result.companions.items()
            }
            with TemporaryDirectory() as folder:
                more: dict[str, Any] = {"cycle": 1, "start_from": start, "companions_from": beside}
                second = self._trained(training(self._short(task), folder, **more))
                for result, place in ((first.result, first.folder), (second, folder)):
                    epochs = [row["epoch"] for row in _rows(place)]
                    if epochs != [1, 2] or not result.steps:
                        self.broken("steps in each of 2 epochs", f"{result.steps} in {epochs}")
            if second.weights.sha256 == first.result.weights.sha256:
                self.broken("to train in every cycle", f"in cycle 1 nothing changed ({task})")

    def test_the_seed_decides(self) -> None:
        """Otherwise no run could be reproduced."""
        for task in sorted(self.part.tasks):
            first, ends = self._straight(task).end, []
            for seed in (0, 1):
                with TemporaryDirectory() as folder:
                    torch.rand(1)
                    self._trained(training(self._short(task, seed=seed), folder))
                    ends.append(_end(folder))
            self._require_same(first, ends[0], f"the same end with the same seed ({task})")
            if first[WEIGHTS] == ends[1][WEIGHTS]:
                self.broken("other weights with another seed", f"they are the same ({task})")

    def test_leaves_randomness_alone(self) -> None:
        """Otherwise a training would change what the rest of the process draws."""
        for task in sorted(self.part.tasks):
            if self._straight(task).drew:
                self.broken("to leave torch's generator as it was", f"it moved ({task})")

    def test_cut_and_continued_ends_the_same(self) -> None:
        """Otherwise a worker that died would change the result: what a scheme keeps between steps
        belongs into a companion, or into `Learner.state_dict`."""
        for task in sorted(self.part.tasks):
            with TemporaryDirectory() as folder:
                self._cut(training(self._short(task), folder))
                self._trained(training(self._short(task), folder))
                self._require_same(
                    self._straight(task).end,
                    _end(folder),
                    f"the same end when it is cut in step {CUT} and continued ({task})",
                )

    def test_a_pool_labeled_to_its_end(self) -> None:
        """Otherwise the last training of a run that buys every label would crash."""
        for task in sorted(self.part.tasks):
            with TemporaryDirectory() as folder:
                x = self._short(task, scheme={"epochs": 1, "milestones": ()})
                self._trained(training(x, folder, images=None))

    def test_says_what_it_cannot_do(self) -> None:
        """Otherwise an experiment would fail in the middle, after hours."""
        for task in sorted(self.part.tasks):
            part, of_task = self.part, find("tasks", task)()
            told = [each.key for each in part.contradictions(of_task, "cold", 1)]
            if part.requires_warm != (("start",) in told):
                self.broken(
                    f"requires_warm to be {part.requires_warm}", f"with start cold it tells {told}"
                )

    def _short(self, task: str, seed: int = 0, scheme: Any = None) -> Any:
        """Its experiment, made short."""
        fields = {**SHORT, "lr": min(self.part.lr, 0.01), **(scheme or {})}
        return experiment(task, self.part.model_copy(update=fields), seed=seed)

    def _straight(self, task: str) -> Straight:
        return self.once(f"training for {task}", lambda: self._undisturbed(task))

    def _undisturbed(self, task: str) -> Straight:
        before, folder = torch.random.get_rng_state(), scratch()
        result = self._trained(training(self._short(task), folder))
        drew = not torch.equal(before, torch.random.get_rng_state())
        return Straight(folder, result, _end(folder), drew)

    def _trained(self, job: TrainJob) -> Trained:
        try:
            result = train(job, Worker())
        except DataError as error:
            self.broken("trainings that end with finite numbers", str(error))
        assert result is not None, "the only worker is worker 0"
        return result

    def _cut(self, job: TrainJob) -> None:
        """The training up to its first checkpoint, and a little further."""
        start = type(self.part).start

        def cut_start(scheme: TrainingScheme, *args: Any, **named: Any) -> Learner:
            learner = start(scheme, *args, **named)
            step = learner.step

            def cut_step(batch: Batch) -> dict[str, Tensor]:
                if batch.step == CUT:
                    raise _Cut
                return step(batch)

            learner.step = cut_step  # type: ignore[method-assign]
            return learner

        with patch.object(type(self.part), "start", cut_start):
            try:
                train(job, Worker())
            except _Cut:
                return
        self.broken(f"more than {CUT} steps in 2 epochs", "it was never cut")

    def _require_same(self, first: dict[str, Any], other: dict[str, Any], promise: str) -> None:
        for name in sorted({*first, *other}):
            if first.get(name) != other.get(name):
                self.broken(promise, f"{name} is another")


class _Cut(Exception):
    """What stops a training in the middle."""


def _rows(folder: str) -> list[dict[str, float]]:
    lines = Folder(folder).read("epochs.jsonl").decode().splitlines()
    return [json.loads(line) for line in lines]


def _end(folder: str) -> dict[str, Any]:
    """What a training ended with: the bytes of its weights, and its epochs less their times."""
    place = Folder(folder)
    files = {name: place.read(name) for name in place.names() if name.endswith(".safetensors")}
    epochs = [{k: v for k, v in row.items() if k not in TIMES} for row in _rows(folder)]
    return {**files, "epochs.jsonl": epochs}
