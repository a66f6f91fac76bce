"""The contract of an engine: it does what the local engine does, wherever it does it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any, ClassVar

import torch
from torch import Tensor

from rayal.cycle.engine import Engine
from rayal.cycle.evaluate import EvaluateJob, Outcome
from rayal.cycle.fit import FitJob
from rayal.cycle.score import ScoreJob, ShardTask, divide
from rayal.cycle.train import TrainJob
from rayal.engine.local import LocalEngine
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.runs.passes import ScoredShard
from rayal.runs.results import Fit, Trained
from rayal.signals.batch import Signals
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.strategies.entropy import Entropy
from rayal.testing.contract import Contract, scratch
from rayal.testing.side import Outside, SideSpec
from rayal.testing.trainings import IMAGES, ROWS, SHORT, experiment, prepared, training

GIB = 2**30


class Unhurried(Strategy):
    """Noise, after up to a fifth of a second: shards end in another order than they begin."""

    needs = frozenset({"noise"})

    def score(self, s: Signals) -> Tensor:
        sleep(float(s.noise[0]) / 5)
        return s.noise


class FailsOnce(Strategy):
    """Noise, but for the first call: who tries again does not see the mistake."""

    needs = frozenset({"noise"})
    marker: str
    """A file that is there after the first call."""

    @classmethod
    def anew(cls) -> "FailsOnce":
        """One that has not failed."""
        return cls(marker=f"{scratch()}/failed")

    def score(self, s: Signals) -> Tensor:
        first = not Path(self.marker).exists()
        Path(self.marker).touch()
        return s.noise / (1 // (1 - first))


class Narrow(Strategy):
    """Noise of small batches; larger ones do not fit its memory."""

    needs = frozenset({"noise"})

    def score(self, s: Signals) -> Tensor:
        if len(s.ids) > ROWS:
            raise torch.OutOfMemoryError(f"{len(s.ids)} images")
        return s.noise


class EngineContract(Contract):
    """What every engine promises of its methods. `part` opens one: a class, or a staticmethod, that
    takes a `Compute`. It is opened once for all tests, and closed after the last."""

    part: Callable[[Compute], Engine]
    kind: ClassVar[str] = "engine"

    compute: ClassVar[Compute] = Compute(
        engine="local",
        device="cpu",
        cpus_per_worker=1,
        scorers=2,
        shard_rows=ROWS,
        score_batch=ROWS,
        checkpoint_seconds=0,
    )
    """What it is opened with, and the local engine beside it."""

    def test_computes_on_a_device(self) -> None:
        """Otherwise scores would be kept under a device that nobody can say."""
        if self.engine.device not in ("cpu", "cuda"):
            self.broken("a device, cpu or cuda", f"it is {self.engine.device!r}")

    def test_trains_nothing(self) -> None:
        """A sweep whose first training another trial has done asks for that."""
        if found := list(self.engine.train([])):
            self.broken("nothing of no trainings", f"it gives {found}")

    def test_trains_one(self) -> None:
        """Otherwise moving an experiment would change its model."""
        self._compare_training(1)

    def test_trains_several(self) -> None:
        """Otherwise members of an ensemble would be lost, or mixed up."""
        self._compare_training(2)

    def test_a_failing_training_is_told_as_it_failed(self) -> None:
        """Otherwise a diverged training would be restarted again and again, or blamed on others."""
        diverging = {"name": "supervised", **SHORT, "lr": 1e30}
        self._compare_failure(
            "training",
            lambda engine: list(engine.train([self._training(self._experiment(diverging))])),
        )

    def test_fits(self) -> None:
        """Otherwise what a strategy had made beside the model would be another elsewhere."""
        ends = []
        for engine in (self._local, self.engine):
            jobs = [self._fit(SideSpec(length=length)) for length in (12, 25)]
            found = dict(engine.fit(jobs))
            for index, made in found.items():
                Folder(jobs[index].out).read(made.companion.name, made.companion)
            ends.append({index: _timeless(made) for index, made in found.items()})
        if ends[0] != ends[1]:
            self.broken(f"fits that end as {ends[0]}", f"they end as {ends[1]}")

    def test_evaluates(self) -> None:
        """Otherwise the same model would have other metrics, or other confusions, elsewhere."""
        for rows in (1000, ROWS):  # in one shard, and in several
            job = self._evaluation(rows)
            found, expected = (each.evaluate(job) for each in (self.engine, self._local))
            if _comparable(found) != _comparable(expected):
                self.broken(f"{expected} in shards of {rows}", f"it gives {found}")

    def test_a_failing_evaluation_is_told_as_it_failed(self) -> None:
        """Otherwise a user would read pages of others' frames."""
        job = self._evaluation(ROWS)
        damaged = FileRecord(job.weights.record.name, job.weights.record.bytes, "0" * 64)
        job = replace(job, weights=FileLocation(job.weights.folder, damaged))
        self._compare_failure("evaluation", lambda engine: engine.evaluate(job))

    def test_scores_nothing(self) -> None:
        """A pass that is resumed may be done already."""
        if found := list(self.engine.score(self._pass(), [])):
            self.broken("nothing of no shards", f"it gives {found}")

    def test_scores_one(self) -> None:
        """Otherwise other units would be chosen."""
        self._compare_scores(1)

    def test_scores_several(self) -> None:
        """Otherwise shards would be lost, doubled, or mixed up: they take unequal times."""
        self._compare_scores(5)

    def test_a_failing_pass_is_told_as_it_failed(self) -> None:
        """Otherwise a mistake in a strategy would be retried, or blamed on the engine."""
        self._compare_failure(
            "a pass",
            lambda engine: list(engine.score(self._pass(FailsOnce.anew()), self._tasks[:2])),
        )

    def test_finds_the_fastest_batch(self) -> None:
        """Otherwise a pass would score one image at a time, or run out of memory."""
        job = self._pass(Narrow()).with_batch(4 * ROWS)
        found, expected = (
            each.fastest_batch(job, GIB, 4 * ROWS) for each in (self.engine, self._local)
        )
        tried = [each["batch"] for each in found.tried]
        if found.batch != expected.batch or found.batch not in tried:
            self.broken(f"a batch of {expected.batch}, the only one that fits", f"{found}")

    def test_a_failing_measurement_is_told_as_it_failed(self) -> None:
        """Otherwise a mistake in a strategy would be taken for a lack of memory."""
        self._compare_failure(
            "measuring",
            lambda engine: engine.fastest_batch(self._pass(FailsOnce.anew()), GIB, ROWS),
        )

    def test_is_closed_twice(self) -> None:
        """A run that is interrupted while it ends closes what is closed."""
        self.engine.close()
        self.engine.close()

    @classmethod
    def teardown_class(cls) -> None:
        """Closes the engine."""
        if (engine := cls._made[1].get("engine")) is not None:
            engine.close()
        super().teardown_class()

    @property
    def engine(self) -> Engine:
        """The engine that is tried."""
        return self.once("engine", lambda: self.part(self.compute))

    def name(self) -> str:
        return getattr(self.part, "__name__", type(self.part).__name__)

    @property
    def _local(self) -> Engine:
        return self.once("local", lambda: LocalEngine(self.compute))

    def _compare_training(self, count: int) -> None:
        """Each with a seed of its own, the later the shorter."""
        ends = []
        for engine in (self._local, self.engine):
            schemes = [{"name": "supervised", **SHORT, "epochs": 2 - n} for n in range(count)]
            jobs = [self._training(self._experiment(s, n)) for n, s in enumerate(schemes)]
            found = list(engine.train(jobs))
            if sorted(index for index, _ in found) != list(range(count)):
                self.broken(f"a result of each of {count} trainings", f"it gives {found}")
            for index, trained in found:  # what it says must be there
                Folder(jobs[index].out).read(trained.weights.name, trained.weights)
            ends.append({index: _timeless(trained) for index, trained in found})
        if ends[0] != ends[1]:
            self.broken(f"trainings that end as {ends[0]}", f"they end as {ends[1]}")

    def _compare_scores(self, count: int) -> None:
        found = []
        for engine in (self._local, self.engine):
            job = self._pass(Unhurried(), Entropy())
            shards = sorted(engine.score(job, self._tasks[:count]), key=lambda each: each.shard)
            for shard in shards:
                Folder(job.out).read(shard.file.name, shard.file)
            found.append([_timeless(shard) for shard in shards])
        if len(found[1]) != count:
            self.broken(f"a result of each of {count} shards", f"there are {len(found[1])}")
        if found[0] != found[1]:
            self.broken(f"shards {found[0]}", f"it writes {found[1]}")

    def _compare_failure(self, what: str, work: Callable[[Engine], Any]) -> None:
        expected, came = (_failure(work, engine) for engine in (self._local, self.engine))
        assert expected is not None, "it fails in this process"
        if came is None:
            self.broken(f"to raise what {what} raises, at once", "it raises nothing")
        if (type(came), str(came)) != (type(expected), str(expected)):
            self.broken(
                f"to raise what {what} raises: {type(expected).__name__}: {expected}",
                f"it raises {type(came).__name__}: {came}",
            )

    def _experiment(self, scheme: Any = "supervised", seed: int = 0) -> Experiment:
        return experiment("classification", scheme, seed=seed, compute=self.compute)

    def _training(self, x: Experiment) -> TrainJob:
        return training(x, scratch())

    def _fit(self, side: SideSpec) -> FitJob:
        x, store = self._experiment(), prepared(False)
        ids = store.pool.ids()[:IMAGES]
        return FitJob(
            experiment=x.model_copy(update={"strategy": Outside(side=side)}),
            cycle=0,
            store=store.url,
            labels=store.labels("pool", ids),
            known=frozenset(ids),
            weights=self._weights,
            companions={},
            out=scratch(),
            name=side.name,
        )

    def _evaluation(self, rows: int) -> EvaluateJob:
        compute = self.compute.model_copy(update={"shard_rows": rows})
        x = experiment("classification", compute=compute)
        return EvaluateJob(x, prepared(False).url, self._weights)

    def _pass(self, *strategies: Strategy) -> ScoreJob:
        """One with a folder of its own."""
        job = ScoreJob.of(self._experiment(), prepared(False), 0, self._weights, scratch())
        return replace(job, strategies={type(each).__name__: each for each in strategies})

    @property
    def _tasks(self) -> list[ShardTask]:
        pool = prepared(False).pool
        return divide(pool, pool.ids(), ROWS)

    @property
    def _weights(self) -> FileLocation:
        return self.once("weights", self._written)

    def _written(self) -> FileLocation:
        x, card = self._experiment(), prepared(False).card
        network, folder = build(x.model, len(card.classes), card.image, seed=1), Folder(scratch())
        return FileLocation(folder.url, TrainedModel.of(x.card_for(card), network).write(folder))


def _timeless(result: Trained | Fit | ScoredShard) -> dict[str, Any]:
    """All that a result says but for how long it took, which the log of epochs tells too."""
    timed = {"seconds", "log"}
    return {name: value for name, value in result.to_json().items() if name not in timed}


def _comparable(found: Outcome) -> tuple[Any, ...]:
    confusion = None if found.confusion is None else found.confusion.tolist()
    return found.metrics, confusion, found.calibration


def _failure(work: Callable[[Engine], Any], engine: Engine) -> Exception | None:
    try:
        work(engine)
    except Exception as error:
        return error
    return None
