"""Whole runs with an ensemble, in this process: what its members are, and what of them is kept."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.cycle import shard_file
from rayal.cycle.loop import run
from rayal.cycle.train import TrainJob
from rayal.engine.local import LocalEngine
from rayal.errors import StorageError
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import Ledger
from rayal.runs.results import Evaluated, Trained
from rayal.storage.folder import Folder, Json
from rayal.workflows import plan
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.times import cycle_seconds
from tests.support.doubles import Silent

SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "limit_pool": 200, "limit_test": 100},
    "budget": {"initial": 20, "per_cycle": 20, "total": 40},
    "compute": {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1},
}
MEMBERS = ("train", "train/member-001", "train/member-002")
ENSEMBLES = ("variation_ratio", "ensemble_entropy", "qbc")


class Cut(Exception):
    """What stops a run in these tests."""


class Recording(LocalEngine):
    """Remembers what it has trained; stops the run after some trainings."""

    def __init__(self, x: Experiment, cut_after: int | None = None) -> None:
        super().__init__(x.compute)
        self.jobs: list[TrainJob] = []
        self.cut_after = cut_after

    def train(self, jobs: Sequence[TrainJob]) -> Iterator[tuple[int, Trained]]:
        for place, job in enumerate(jobs):
            if len(self.jobs) == self.cut_after:
                raise Cut
            self.jobs.append(job)
            _, result = next(iter(super().train([job])))
            yield place, result

    @property
    def trained(self) -> list[tuple[int, int]]:
        """Cycle and member of every training, in order."""
        return [(job.cycle, job.member) for job in self.jobs]


class AtScore(Silent):
    """Stops the run before its first pass."""

    def stage(self, cycle: int, stage: str) -> None:
        if stage == "score":
            raise Cut


def go(x: Experiment, folder: Path, engine: LocalEngine | None = None, watch: Any = None) -> Any:
    """Runs to the end; the ids of all labels in order of purchase."""
    with Ledger(Folder(folder), x.identity()) as ledger:
        engine = engine or LocalEngine(x.compute)
        return list(run(x, x.dataset.open(), ledger, engine, watch or Silent()).labels)


def weights(folder: Path, cycle: int) -> list[bytes]:
    """Of every member, the first one first."""
    train = [folder / f"cycle-{cycle:03d}" / member for member in MEMBERS]
    return [(each / "weights.safetensors").read_bytes() for each in train]


@pytest.fixture(scope="module")
def small(tiny: Callable[..., Experiment]) -> Callable[..., Experiment]:
    return lambda **fields: tiny(
        **{**SMALL, "ensemble": 3, "strategy": "qbc", "observers": ENSEMBLES[:2], **fields}
    )


@pytest.fixture(scope="module")
def whole(small: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of three members and two cycles: its folder, its engine and its labels."""
    folder = tmp_path_factory.mktemp("whole")
    engine = Recording(small())
    return folder, engine, go(small(), folder, engine)


def test_members_are_different_models(whole):
    """An ensemble of one model, three times over, agrees with itself."""
    folder, engine, labels = whole

    assert [(cycle, member) for cycle in (0, 1) for member in range(3)] == engine.trained
    assert len(set(weights(folder, 0) + weights(folder, 1))) == 6
    assert len(set(labels)) == 40


def test_members_learn_from_the_same_labels(whole):
    """A member that sees other labels would be a bootstrap, which the method is not."""
    _, engine, labels = whole

    for job in engine.jobs:
        assert sorted(labels[: 20 * (job.cycle + 1)]) == sorted(job.ids)
        assert job.labels == engine.jobs[3 * job.cycle].labels


def test_the_first_member_is_the_model_of_a_run_without_an_ensemble(small, whole, tmp_path):
    """Runs with and without an ensemble could not be compared: same start, same metrics."""
    folder, _, _ = whole
    alone = small(ensemble=1, strategy="entropy", observers=())
    go(alone, tmp_path)

    def first(run_folder: Path, x: Experiment) -> tuple[bytes, Json]:
        with Ledger(Folder(run_folder), x.identity()) as ledger:
            train, metrics = ledger.result(0, Trained), ledger.result(0, Evaluated)
        return train.weights.sha256, metrics

    assert first(tmp_path, alone) == first(folder, small())


def test_members_disagree_and_are_asked(whole):
    """Scores would be those of one model: no votes against, no divergence."""
    folder, _, _ = whole
    table = shard_file.read_shard(Folder(folder / "cycle-000/score"), "shard-00000.parquet")
    ratio, mean, qbc = (
        table[f"score.{name}"].to_numpy() for name in ("variation_ratio", *ENSEMBLES[1:])
    )

    assert set(ratio) == {0, 1 / 3, 2 / 3}
    assert (qbc > 0).all() and (mean > 0).all() and (mean + qbc <= np.log(10)).all()


def test_a_warm_start_continues_each_member_from_its_own_weights(whole):
    """All members would become copies of the first after one cycle."""
    folder, engine, _ = whole
    first, second = engine.jobs[:3], engine.jobs[3:]

    assert [job.start_from for job in first] == [None] * 3
    assert [job.start_from.read() for job in second] == weights(folder, 0)


def test_a_cold_start_draws_new_members(small, tmp_path):
    """Members of all cycles would start from the same weights."""
    x = small(start="cold", scheme={"name": "supervised", "epochs": 1, "lr": 1e-9})
    engine = Recording(x)
    go(x, tmp_path, engine)

    assert [job.start_from for job in engine.jobs] == [None] * 6
    assert len({job.key for job in engine.jobs}) == 6
    assert len(set(weights(tmp_path, 0) + weights(tmp_path, 1))) == 6


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_cut_run_trains_no_member_twice(small, whole, tmp_path, after):
    """Hours of finished trainings would be done again, or a member be forgotten."""
    folder, _, labels = whole
    before, later = Recording(small(), cut_after=after), Recording(small())
    with pytest.raises(Cut):
        go(small(), tmp_path, before)

    assert labels == go(small(), tmp_path, later)
    assert before.trained + later.trained == whole[1].trained
    assert weights(folder, 1) == weights(tmp_path, 1)
    assert (folder / "cycle-001/train/done.json").exists()


def test_a_run_cut_after_the_last_member_trains_nothing(small, whole, tmp_path, monkeypatch):
    """Only the record of the stage is missing: everything would be trained again."""
    _, _, labels = whole
    engine = Recording(small())
    write = Folder.write_sealed

    def cut(folder: Folder, name: str, value: Json) -> Any:
        if name == "done.json" and folder.url.endswith("cycle-001/train"):
            raise Cut
        return write(folder, name, value)

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(Folder, "write_sealed", cut)
        go(small(), tmp_path, engine)
    later = Recording(small())

    assert labels == go(small(), tmp_path, later)
    assert len(engine.trained) == 6 and later.trained == []


@pytest.mark.parametrize("damage", ["absent", "cut", "flipped"])
def test_a_damaged_member_is_named(small, tmp_path, damage):
    """A pass would go on with fewer members, or with nonsense for one of them."""
    with pytest.raises(Cut):
        go(small(), tmp_path, watch=AtScore())
    file = tmp_path / "cycle-000/train/member-002/weights.safetensors"
    data = file.read_bytes()
    file.unlink()
    if damage != "absent":
        flipped = data[:-1] + bytes([data[-1] ^ 1])
        file.write_bytes(data[:-1] if damage == "cut" else flipped)

    with pytest.raises(StorageError, match=f"{file.parent}.*weights.safetensors"):
        go(small(), tmp_path)
    assert not (tmp_path / "cycle-000/score/done.json").exists()


def test_a_damaged_record_of_a_member_is_named(small, whole, tmp_path):
    """A half-written result of a finished member would pass for a whole one."""
    with pytest.raises(Cut):
        go(small(), tmp_path, Recording(small(), cut_after=2))
    file = tmp_path / "cycle-000/train/member-001/trained.json"
    file.write_text(file.read_text().replace('"steps": 8', '"steps": 9'))

    with pytest.raises(StorageError, match=f"{file} is damaged .* delete it to train that model"):
        go(small(), tmp_path)
    file.unlink()
    again = Recording(small())

    assert whole[2] == go(small(), tmp_path, again)
    assert again.trained[:2] == [(0, 1), (0, 2)]


def test_a_strategy_of_one_model_asks_the_first_member(small, whole, tmp_path):
    """An ensemble that nobody reads would change what others choose."""
    alone = small(ensemble=1, strategy="entropy", observers=())
    watched = small(strategy="entropy")

    assert go(alone, tmp_path / "alone") == go(watched, tmp_path / "watched")


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("role", ["strategy", "observers"])
def test_one_model_is_no_ensemble(small, name, role):
    """Every score would be 0 or that of entropy; told before anything starts, with the way out."""
    fields = {"strategy": "entropy", "observers": (), role: name if role == "strategy" else [name]}

    with pytest.raises(ValueError, match=rf"'{name}' needs an ensemble; set `ensemble` to 2"):
        small(ensemble=1, **fields)
    small(ensemble=2, **fields)


def test_a_plan_counts_all_members(small, whole, tmp_path):
    """A run that takes three times the time and disk of what was planned."""
    folder, _, _ = whole
    x, one = small(), small(ensemble=1, strategy="entropy", observers=())
    store = x.dataset.open()
    planned, alone = (plan.make(each, store, probe=False) for each in (x, one))
    written = sum(file.stat().st_size for file in folder.rglob("weights.safetensors"))
    probe = Probe("cpu", {16: 1.0}, evaluate=0.0, score=(0.0, 0.0))

    assert planned.disk["weights"] == 3 * alone.disk["weights"] == written
    assert [cycle.passes for cycle in planned.cycles] == [3, 0]
    assert [cycle.passes for cycle in alone.cycles] == [1, 0]
    for cycle, other in zip(planned.cycles, alone.cycles, strict=True):
        assert cycle.steps == other.steps
        assert cycle_seconds(x, cycle, store.card, probe) == 3 * cycle_seconds(
            one, other, store.card, probe
        )


def test_a_run_with_dropout_repeats_itself(small, tmp_path):
    """Noise that does not come from the seed would choose other units every time, and shards."""
    dropout = {"name": "small_cnn", "width": 8, "dropout": 0.5}
    changes = {"ensemble": 1, "observers": ["mc_variation_ratio", {"name": "bald", "passes": 3}]}
    x = small(model=dropout, strategy="bald", **changes)
    other = {**SMALL["compute"], "shard_rows": 64, "score_batch": 50}
    divided = small(model=dropout, strategy="bald", compute=other, **changes)

    assert go(x, tmp_path / "a") == go(x, tmp_path / "b")
    columns = [
        shard_file.read_shard(Folder(tmp_path / name / "cycle-000/score"), "shard-00000.parquet")
        for name in ("a", "b")
    ]
    assert columns[0].equals(columns[1])
    assert set(go(divided, tmp_path / "c")) == set(go(x, tmp_path / "a"))
