"""First trainings done once: by whoever comes first, with the same bits for all others."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from rayal.cycle import shared_training
from rayal.cycle.loop import run
from rayal.cycle.shared_training import SHARED, SharedTraining, key
from rayal.cycle.train import TrainJob
from rayal.engine.local import LocalEngine
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen
from rayal.storage.folder import Folder
from tests.support.doubles import Silent


class Counting(LocalEngine):
    """Counts the trainings that it does."""

    def __init__(self, compute) -> None:
        super().__init__(compute)
        self.trained: list[TrainJob] = []

    def train(self, jobs: Sequence[TrainJob]) -> Iterator:
        self.trained += jobs
        return super().train(jobs)


def finish(x, engine, out):
    with Ledger(Folder(out), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
        chosen = [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]
        weights = [ledger.stage(c, "train").read("weights.safetensors") for c in range(pool.cycle)]
        return chosen, weights


def test_strategies_of_one_seed_share_their_first_training(tiny, tmp_path) -> None:
    """Each seed's first model is trained once, and every run ends as it does alone."""
    for seed in (0, 1):
        for strategy in ("random", "entropy", "cod"):
            x = tiny(
                seed=seed, strategy=strategy, budget={"initial": 20, "per_cycle": 20, "total": 40}
            )
            engine = Counting(x.compute)
            out = tmp_path / f"{strategy}{seed}"
            shared = finish(x, SharedTraining(engine, Folder(tmp_path / "shared")), out)
            assert shared == finish(x, LocalEngine(x.compute), tmp_path / f"alone{strategy}{seed}")
            assert [job.cycle for job in engine.trained] == (
                [0, 1] if strategy == "random" else [1]
            )
            assert (out / "cycle-000/train" / SHARED).exists() == (strategy != "random")
    assert len(list((tmp_path / "shared").iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"scheme": {"name": "supervised", "epochs": 5, "batch_size": 16, "lr": 0.05}},
        {"scheme": {"name": "tod", "epochs": 4, "batch_size": 16, "lr": 0.05}},
        {"model": {"name": "small_cnn", "width": 4}},
        {"strategy": "epmcm"},  # its statistics are gathered while the model learns
        {"dataset": {"name": "digits", "limit_pool": 500, "limit_test": 100}},
    ],
)
def test_another_training_has_another_key(tiny, change) -> None:
    """A model that was trained otherwise would silently stand in for this one's."""
    assert known(tiny()) != known(tiny(**change))


@pytest.mark.parametrize(
    "change",
    [{"strategy": "entropy"}, {"name": "other"}, {"observers": ["margin"]}, {"candidates": 40}],
)
def test_what_does_not_train_does_not_matter(tiny, change) -> None:
    assert known(tiny()) == known(tiny(**change))


def test_labels_and_units_matter(tiny) -> None:
    x = tiny()
    keys = {known(x), known(x, labels=(1, 1)), known(x, ids=("a",), labels=(0,))}
    assert len(keys) == 3


def test_where_it_is_computed_matters(tiny, monkeypatch) -> None:
    """A model of another machine, or of a plugin as it was, would stand in for this one's."""
    x = tiny()
    keys = {key(job(x), *place) for place in (("cpu", 1), ("cpu", 2), ("cuda", 1))}
    monkeypatch.setattr(shared_training, "plugin_sources", lambda x: {"mine": "changed"})
    assert len(keys | {known(x)}) == 4


def known(x, **fields) -> str:
    return key(job(x, **fields), "cpu", 1)


def job(x, ids=("a", "b"), labels=None, out="/nowhere") -> TrainJob:
    labels = (0,) * len(ids) if labels is None else labels
    return TrainJob(x, 0, x.dataset.open().url, ids, labels, None, out)


def test_who_comes_second_waits_for_the_first(tiny, tmp_path) -> None:
    """Trials start together: without waiting each would train the same model."""
    x = tiny(strategy="random", budget={"initial": 20, "per_cycle": 20, "total": 40})
    started, done = threading.Event(), []

    class Slow(Counting):
        def train(self, jobs: Sequence[TrainJob]) -> Iterator:
            started.set()
            return super().train(jobs)

    engines = [Slow(x.compute), Counting(x.compute)]
    kept = Folder(tmp_path / "shared")

    def work(number: int) -> None:
        shared = SharedTraining(engines[number], kept)
        done.append(finish(x, shared, tmp_path / f"run{number}"))

    first = threading.Thread(target=work, args=(0,))
    first.start()
    assert started.wait(60)
    work(1)
    first.join()
    assert done[0] == done[1]
    assert [j.cycle for e in engines for j in e.trained].count(0) == 1


def test_a_first_training_that_died_is_done_by_the_next(tiny, tmp_path) -> None:
    """What a killed trial left half would otherwise be taken, or waited for, for ever."""
    x = tiny(strategy="random", budget={"initial": 20, "per_cycle": 20, "total": 40})
    kept = Folder(tmp_path / "shared")

    class Dies(LocalEngine):
        def train(self, jobs: Sequence[TrainJob]) -> Iterator:
            raise MemoryError("died")

    with pytest.raises(MemoryError):
        finish(x, SharedTraining(Dies(x.compute), kept), tmp_path / "dead")
    engine = Counting(x.compute)
    found = finish(x, SharedTraining(engine, kept), tmp_path / "next")
    assert found == finish(x, LocalEngine(x.compute), tmp_path / "alone")
    assert engine.trained[0].cycle == 0
