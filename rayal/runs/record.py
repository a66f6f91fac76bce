"""A run folder as others see it: read only, while the run goes on and after it ended or died."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from functools import cached_property
from typing import Any

from rayal.data.tasks.base import Task, headline_of
from rayal.errors import OUT, Apart, UsageError
from rayal.labeling.budget import Budget
from rayal.parts import find
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.experiment_file import NAME, ExperimentFile
from rayal.runs.ledger import FINAL, STAGES, stage_folder
from rayal.runs.results import TUNED, Evaluated, FineTuned
from rayal.runs.stages import Stages
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import read_done
from rayal.storage.lock import died, silence


class Record(Stages):
    """What is known of a run: by its stages, and by its experiment.

    Every method may raise StorageError, where a file cannot be read or is damaged.
    """

    def __init__(self, folder: Folder, plugins: Plugins = NO_PLUGINS) -> None:
        """Its parts may be of these plugins. Raises UsageError where there is no run."""
        if not folder.exists("run.json"):
            raise UsageError(
                f"{folder.url} is not a run folder: it holds no run.json; give the {OUT} of a run"
            )
        super().__init__(folder)
        self.plugins = plugins
        self._file = ExperimentFile(folder)

    @classmethod
    def below(
        cls, folder: Folder, plugins: Plugins = NO_PLUGINS, apart: Apart | None = None
    ) -> Iterator["Record"]:
        """The runs in this folder or in folders in it; one that cannot be read is an error that
        `apart` keeps, so that it does not hide the others."""
        names = list[str]()
        with nullcontext() if apart is None else apart.kept():
            if folder.exists("run.json"):
                # without either it began this moment: nothing to tell yet
                if folder.exists(NAME) or folder.exists("cycle-000"):
                    yield cls(folder, plugins)
                return
            names = folder.folders()
        for name in names:
            yield from cls.below(folder / name, plugins, apart)

    @cached_property
    def run_id(self) -> str:
        """Unique among all runs anywhere."""
        return str(self.folder.read_sealed("run.json")["id"])

    def experiment(self) -> Json:
        """The resolved configuration; what the caller changes in it is the caller's own."""
        return deepcopy(self._file.fields())

    def experiment_file(self) -> str:
        """`experiment.yaml` as it was written."""
        return self._file.text()

    def identity(self) -> Json:
        """What it must have in common with whoever continues it, see `Experiment.identity`."""
        recorded: Json = self.folder.read_sealed("identity.json", default={})
        return recorded

    def budget(self) -> Budget:
        """What the run may spend."""
        return self._file.budget()

    def check(self) -> None:
        """Raises StorageError where what every reader needs is damaged."""
        assert self.run_id
        self._file.check()
        self.check_whole()

    @cached_property
    def task(self) -> type[Task]:
        """What is predicted."""
        found: Any = find("tasks", self._file.fields()["task"]["name"], self.plugins)
        task: type[Task] = found
        return task

    @cached_property
    def headline(self) -> str:
        """The metric that its task is judged by, see `headline_of`."""
        return headline_of(self.task.headline, self.tested, self.explores)

    @property
    def explores(self) -> bool:
        """Whether a share of each of its purchases is drawn at random."""
        return bool(self._file.fields().get("explore", 0))

    @property
    def dense(self) -> bool:
        """Whether its labels are masks."""
        return self.task.dense

    @cached_property
    def tested(self) -> bool:
        """Whether its dataset has test images."""
        store = self.identity().get("store") or {}
        return bool(store.get("tested", True))

    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes; None where an older rayal did not say."""
        identity = self.folder.read_sealed("identity.json", default={})
        store = identity.get("store")
        return None if store is None else tuple(store["classes"])

    @cached_property
    def sweep(self) -> str | None:
        """URL of the sweep that it is a trial of, if any."""
        above, _, name = self.folder.url.rpartition("/")[0].rpartition("/")
        return above if name == "trials" and Folder(above).exists("sweep.yaml") else None

    @property
    def place(self) -> str:
        """URL of where the runs are that belong together with it: its sweep, or the folder that it
        is in."""
        return self.sweep or self.folder.url.rpartition("/")[0]

    def cycles(self) -> list[dict[str, Any]]:
        """A row for each evaluated cycle: cycle, labels, cost, metrics, `<stage>_seconds`.

        A metric is None where it has no value in a cycle. The seconds are of the attempt that
        finished the stage, None for stages that have not. Where a network was trained at the end,
        all rows have `fine_tuned_<headline>` and its seconds too, None in other cycles.
        """
        rows, tuned = [], self.fine_tuned()
        for cycle in range(self.begun()):
            evaluated = self.result(cycle, Evaluated)
            if evaluated is not None:
                metrics = evaluated.metrics.items()
                row = {
                    "cycle": cycle,
                    **{key: value for key, value in metrics if not isinstance(value, list | tuple)},
                    "labels": evaluated.labels,
                    "cost": evaluated.cost,
                    **self._seconds(cycle),
                }
                rows.append(row | self._end_of(cycle, tuned) if tuned else row)
        return rows

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do: its curve is whole and, where the experiment says so, the
        network was fine-tuned after that; and every stage of every cycle is there."""
        x = self._file.fields()
        return self.ends(self.budget(), x.get("stop", {}), x.get("fine_tune") is not None)

    @property
    def whole(self) -> bool:
        """Whether its curve `is_whole` by its own budget and rules."""
        return self.is_whole(self.budget(), self._file.fields().get("stop", {}))

    @property
    def stopped(self) -> str | None:
        """Why a rule of its own has ended it before its budget was spent; None where none has."""
        return self.stopped_by(self._file.fields().get("stop", {}))

    def heartbeat_age(self) -> float | None:
        """Seconds since the driver's last sign of life; None when it ended in good order."""
        return silence(self.folder)

    def has_died(self) -> bool:
        """Whether its driver surely was killed: it ran on this machine, and is gone."""
        return died(self.folder)

    def _seconds(self, cycle: int) -> dict[str, float | None]:
        done = {stage: self._read(cycle, stage) for stage in STAGES}
        return {f"{stage}_seconds": d["seconds"] if d else None for stage, d in done.items()}

    def _end_of(self, cycle: int, tuned: Mapping[int, FineTuned]) -> Json:
        """The columns of a fine-tuned network, None in cycles without one."""
        there = cycle in tuned
        seconds = read_done(stage_folder(self.folder, cycle, FINAL))["seconds"] if there else None
        value = tuned[cycle].metrics.get(self.headline) if there else None
        return {f"{TUNED}{self.headline}": value, f"{FINAL}_seconds": seconds}
