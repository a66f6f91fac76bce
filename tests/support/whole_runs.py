"""Whole runs in this process: how tests start and stop them, and what they are judged by."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.companions.base import CompanionSpec
from rayal.runs.ledger import S
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Scored
from rayal.storage.folder import Folder
from rayal.strategies.cod import Cod
from rayal.workflows.run import start_run
from tests.support.doubles import GuessSpec, Silent

BRIEF = {"name": "supervised", "epochs": 1, "batch_size": 16, "lr": 0.05}
"""A training of a moment, where it does not matter how much is learned."""
ONE_THREAD = {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1, "checkpoint_seconds": 0}


class Guessing(Cod):
    """COD with a companion: a run with every kind of file."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (GuessSpec(),)


class Interrupted(Exception):
    """What stops a run in these tests."""


class At(Silent):
    """Does something when a stage begins; by default it stops the run there."""

    def __init__(self, cycle: int, stage: str, act: Callable[[], None] | None = None) -> None:
        self.at, self.act = (cycle, stage), act

    def stage(self, cycle: int, stage: str) -> None:
        if (cycle, stage) == self.at:
            if self.act is None:
                raise Interrupted
            self.act()


def go(x: Experiment, out: Path, *watchers: Silent, engine: type[LocalEngine] = LocalEngine) -> Any:
    """Runs to the end, in this process."""
    with start_run(x, str(out)) as opened:
        return opened.run(lambda: nullcontext(engine(x.compute)), watchers)


def stopped_at(x: Experiment, out: Path, cycle: int, stage: str) -> Path:
    """The folder of a run that was stopped before a stage."""
    with pytest.raises(Interrupted):
        go(x, out, At(cycle, stage))
    return out


def result(out: Path, cycle: int, kind: type[S]) -> S | None:
    """What a finished stage said; nothing before it is finished."""
    return Record(Folder(out)).result(cycle, kind)


def passed(out: Path, cycle: int) -> Scored:
    """A scoring pass that is finished."""
    found = result(out, cycle, Scored)
    assert found is not None
    return found


def chosen(out: Path) -> list[list[str]]:
    """The ids that every cycle chose."""
    record = Record(Folder(out))
    found = (record.result(cycle, Chosen) for cycle in range(100))
    return [list(done.ids) for done in found if done is not None]


def outcome(out: Path) -> dict[str, Any]:
    """What a run is judged by: all picks, labels and weights, and the curve without its seconds."""
    patterns = ("*/select/chosen.csv", "*/*/labels.parquet", "*/train/*.safetensors")
    files = {
        str(path.relative_to(out)): path.read_bytes()
        for pattern in patterns
        for path in sorted(out.glob(f"cycle-{pattern}"))
    }
    curve = [
        (row["cycle"], row["labels"], row["cost"], row["accuracy"], row["nll"])
        for row in Record(Folder(out)).cycles()
    ]
    return {**files, "curve": curve}


def files_of(out: Path) -> dict[str, bytes]:
    """All files of a run folder."""
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def sixty(tiny: Callable[..., Experiment], rows: int, **fields: Any) -> Experiment:
    """An experiment on 60 images, scored in shards of `rows`; its trainings are `BRIEF`."""
    fields.setdefault("scheme", BRIEF)
    dataset = {"name": "digits", "limit_pool": 60, "limit_test": 30, **fields.pop("dataset", {})}
    compute = {**ONE_THREAD, "shard_rows": rows, "score_batch": 16}
    budget = {"initial": 15, "per_cycle": 15, "total": 45}
    return tiny(dataset=dataset, compute=compute, budget=budget, **fields)


def short(tiny: Callable[..., Experiment], **fields: Any) -> Experiment:
    """A run that takes half as long as a tiny one: 300 images in two shards, an epoch a cycle."""
    return tiny(
        **{
            "dataset": {"name": "digits", "limit_pool": 300, "limit_test": 30},
            "scheme": {"name": "supervised", "epochs": 1, "batch_size": 32, "lr": 0.05},
            **fields,
        }
    )


class FinishedRuns:
    """Runs that are made once for all tests of a process that ask for the same experiment."""

    def __init__(self, root: Path) -> None:
        self._root, self._made = root, dict[str, Path]()

    def __call__(self, x: Experiment, out: Path | None = None) -> Path:
        """The folder of a run, which others read as well: nobody may change it. With `out` a copy
        of it there, which may be changed."""
        asked = x.model_dump_json()
        if asked not in self._made:
            folder = self._root / str(len(self._made))
            go(x, folder)
            self._made[asked] = folder
        made = self._made[asked]
        return made if out is None else Path(shutil.copytree(made, out, dirs_exist_ok=True))
