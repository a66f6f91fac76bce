"""A run folder as others see it: read only, while the run goes on and after it ended or died."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from functools import cached_property
from typing import Any

import yaml
from pydantic import ValidationError

from rayal.blame import told
from rayal.data.tasks.base import Task, headline_of
from rayal.errors import OUT, Apart, StorageError, UsageError
from rayal.labeling.budget import Budget
from rayal.labeling.request import Request
from rayal.parts import find
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.runs.ledger import (
    FINAL,
    FIRST,
    FOLLOWS,
    INITIAL,
    ORDER,
    STAGES,
    S,
    cycle_numbers,
    read_labels,
    read_stopped,
    stage_folder,
)
from rayal.runs.result_files import FIT_ROWS, checked_result
from rayal.runs.results import (
    TUNED,
    Chosen,
    Evaluated,
    FineTuned,
    Fitted,
    Initial,
    Labeled,
    Scored,
    Trained,
)
from rayal.settings import wanted
from rayal.storage import yaml_file
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import is_done, read_done
from rayal.storage.lock import died, silence
from rayal.storage.stage_file import PRUNED

WRITTEN_ANEW = "give the run's own command again, which writes it anew"
"""What helps where the file of the settings cannot be read."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Of files that are read often: the one in C takes a tenth of the time, and is there as a rule."""
PARTS = ("dataset", "task", "scheme", "strategy")
"""Of an experiment, what every reader needs to know the name of."""


def find_records(
    places: Iterable[str], plugins: Plugins = NO_PLUGINS, apart: Apart | None = None
) -> list["Record"]:
    """The runs at these places: each a run folder, or a folder with run folders below it.

    A place without a run, or that cannot be read, and a run whose experiment is damaged are errors
    that `apart` keeps; without it they are raised when all places were looked at.
    """
    if apart is None:
        apart = Apart()
        found = find_records(places, plugins, apart)
        apart.end()
        return found
    found = []
    for place in places:
        before = len(found) + len(apart.errors)
        with apart.kept():
            for record in Record.below(Folder(place), plugins, apart):
                with apart.kept():
                    record.check()
                    found.append(record)
            if len(found) + len(apart.errors) == before:
                raise UsageError(
                    f"{place}: no run folder is there or below; give the {OUT} of a run, which"
                    " holds a run.json"
                )
    return found


def _missing(fields: Json) -> str | None:
    """The first field of an experiment without which nothing can be told of a run."""
    for key in ("name", "seed", "budget", *PARTS):
        if key not in fields:
            return key
    parts = {key: fields[key] for key in PARTS}
    named = {k for k, p in parts.items() if isinstance(p, dict) and isinstance(p.get("name"), str)}
    return next((f"{key}.name" for key in PARTS if key not in named), None)


class Record:
    """What is known of a run. Only finished stages count, so a reader never sees half of one.

    Every method may raise StorageError, where a file cannot be read or is damaged.
    """

    def __init__(self, folder: Folder, plugins: Plugins = NO_PLUGINS) -> None:
        """Its parts may be of these plugins. Raises UsageError where there is no run."""
        if not folder.exists("run.json"):
            raise UsageError(
                f"{folder.url} is not a run folder: it holds no run.json; give the {OUT} of a run"
            )
        self.folder, self.plugins = folder, plugins
        self._done: dict[tuple[int, str], Json] = {}  # a result never changes, once it is there
        self._parsed: tuple[str, Json] | None = None  # reading YAML takes longer than a small file

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
                if folder.exists("experiment.yaml") or folder.exists("cycle-000"):
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
        return deepcopy(self._experiment())

    def _experiment(self) -> Json:
        """As `experiment`, to look at."""
        text = self.experiment_file()
        if self._parsed is None or self._parsed[0] != text:
            self._parsed = text, _experiment(text, f"{self.folder.url}/experiment.yaml")
        return self._parsed[1]

    def experiment_file(self) -> str:
        """`experiment.yaml` as it was written."""
        with suggesting(WRITTEN_ANEW):
            data = self.folder.read("experiment.yaml")
        try:
            return yaml_file.unsealed(data)
        except ValueError as error:
            raise self._damaged(error) from error

    def identity(self) -> Json:
        """What it must have in common with whoever continues it, see `Experiment.identity`."""
        recorded: Json = self.folder.read_sealed("identity.json", default={})
        return recorded

    def budget(self) -> Budget:
        """What the run may spend."""
        try:
            return Budget.model_validate(self._experiment()["budget"])
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, ("budget", *first["loc"])))
            raise self._damaged(f"{where}: {wanted(first)}") from error

    def _damaged(self, reason: Exception | str) -> StorageError:
        return _damaged(f"{self.folder.url}/experiment.yaml", reason)

    def check(self) -> None:
        """Raises StorageError where what every reader needs is damaged."""
        assert self.run_id
        if missing := _missing(self._experiment()):
            raise self._damaged(f"{missing} is missing")
        self.budget()
        self.check_whole()

    @cached_property
    def task(self) -> type[Task]:
        """What is predicted."""
        found: Any = find("tasks", self._experiment()["task"]["name"], self.plugins)
        task: type[Task] = found
        return task

    @cached_property
    def headline(self) -> str:
        """The metric that its task is judged by, see `headline_of`."""
        return headline_of(self.task.headline, self.tested, self.explores)

    @property
    def explores(self) -> bool:
        """Whether a share of each of its purchases is drawn at random."""
        return bool(self._experiment().get("explore", 0))

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

    def result(self, cycle: int, kind: type[S]) -> S | None:
        """The result of a stage; None while it is not finished."""
        done = self._read(cycle, kind.stage)
        if done is None:
            return None
        return checked_result(kind, done["result"], stage_folder(self.folder, cycle, kind.stage))

    def initial(self) -> frozenset[str]:
        """The units bought before the first training; none while they are not."""
        if self.result(0, Initial) is None:
            return frozenset()
        return frozenset(unit for unit, *_ in read_labels(stage_folder(self.folder, 0, INITIAL)))

    def finished(self) -> list[tuple[int, str]]:
        """Cycle and name of every finished stage, in order; of purchases before the first training
        none."""
        stages = [(cycle, stage) for cycle in range(self.begun()) for stage in (*STAGES, FINAL)]
        stages[:0] = [(0, FIRST)]
        return [each for each in stages if self._read(*each) is not None]

    def pruned(self, cycle: int, stage: str) -> bool:
        """Whether large files of a finished stage were removed on purpose."""
        out = stage_folder(self.folder, cycle, stage)
        return is_done(out) and PRUNED in read_done(out)  # as it is now: it may be so at any time

    def begun(self) -> int:
        """How many cycles have a folder."""
        return max(cycle_numbers(self.folder), default=-1) + 1

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

    def fine_tuned(self) -> dict[int, FineTuned]:
        """Cycle -> what the network reached that was trained once on all labels bought until then;
        several where the run went on with a larger budget."""
        found = ((cycle, self.result(cycle, FineTuned)) for cycle in range(self.begun()))
        return {cycle: tuned for cycle, tuned in found if tuned is not None}

    def epochs(self, cycle: int) -> list[dict[str, Any]]:
        """A row for each epoch of a cycle's training so far, as the training wrote them."""
        return self._epochs(stage_folder(self.folder, cycle, "train"), self.result(cycle, Trained))

    def fine_tuned_epochs(self, cycle: int) -> list[dict[str, Any]]:
        """As `epochs`, of the training after the last cycle."""
        tuned = self.result(cycle, FineTuned)
        out = stage_folder(self.folder, cycle, FINAL)
        return self._epochs(out, None if tuned is None else tuned.trained)

    def _epochs(self, out: Folder, trained: Trained | None) -> list[dict[str, Any]]:
        if not out.exists("epochs.jsonl"):
            return []
        with suggesting("delete it, which loses nothing but these rows"):
            data = out.read("epochs.jsonl", None if trained is None else trained.log)
        try:
            return [json.loads(line) for line in data.splitlines()]
        except (ValueError, RecursionError) as error:
            raise StorageError(f"{out.url}/epochs.jsonl is damaged: {error}; delete it") from error

    def fit_steps(self, cycle: int) -> tuple[int, int]:
        """How many steps a cycle's fits have taken so far, and of how many: of those begun."""
        out, done, of = stage_folder(self.folder, cycle, Fitted.stage), 0, 0
        for name in out.folders():
            if (out / name).exists(FIT_ROWS):
                try:
                    row = json.loads((out / name).read(FIT_ROWS).splitlines()[-1])
                    done, of = done + row["step"], of + row["of"]
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    place = f"{out.url}/{name}/{FIT_ROWS}"
                    raise StorageError(f"{place} is damaged: {error}; delete it") from error
        return done, of

    def stage_now(self) -> tuple[int, str] | None:
        """Cycle and name of the stage at work, or where the run stopped; None between stages."""
        last = max(0, self.begun() - 1)
        for stage in (FIRST, INITIAL, *STAGES, FINAL):
            out = stage_folder(self.folder, last, stage)
            if out.exists("started.json") and not out.exists("done.json"):
                return last, stage
        return None

    def request(self) -> tuple[int, str, Request] | None:
        """Cycle, stage and request of whatever somebody is asked for now, answered or not; None
        where nobody is."""
        for cycle, stage in ((0, INITIAL), (max(0, self.begun() - 1), Labeled.stage)):
            if self._read(cycle, stage) is None:
                request = Request(stage_folder(self.folder, cycle, stage))
                return None if request.asked is None else (cycle, stage, request)
        return None

    def requests(self) -> list[tuple[int, Request]]:
        """All requests so far, each with its cycle, -1 for the first units."""
        places = [(-1, INITIAL), *((cycle, Labeled.stage) for cycle in range(self.begun()))]
        found = [(at, Request(stage_folder(self.folder, max(0, at), name))) for at, name in places]
        return [(at, request) for at, request in found if request.asked is not None]

    def check_whole(self) -> None:
        """Raises StorageError where a stage is missing although a later one is finished."""
        if (gap := self._gap()) is not None:
            out = stage_folder(self.folder, *gap)
            raise StorageError(
                f"{out.url} is missing although later stages are finished; restore it from a copy,"
                " or give the run's own command again: it does that stage again and checks the"
                " later ones"
            )

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do: its curve is whole and, where the experiment says so, the
        network was fine-tuned after that; and every stage of every cycle is there."""
        x = self._experiment()
        return self.ends(self.budget(), x.get("stop", {}), x.get("fine_tune") is not None)

    def ends(self, budget: Budget, rules: Json, fine_tunes: bool) -> bool:
        """As `complete`, by a budget that may be larger than its own, other rules of `stop`, and
        fine-tuning or not."""
        last = self.begun() - 1
        return self.is_whole(budget, rules) and (
            not fine_tunes or self.result(last, FineTuned) is not None
        )

    @property
    def whole(self) -> bool:
        """Whether its curve `is_whole` by its own budget and rules."""
        return self.is_whole(self.budget(), self._experiment().get("stop", {}))

    def is_whole(self, budget: Budget, rules: Json) -> bool:
        """Whether the curve ends here: it `spends` the budget, or a rule has ended it before."""
        return self.spends(budget) or self.stopped_by(rules) is not None

    @property
    def stopped(self) -> str | None:
        """Why a rule of its own has ended it before its budget was spent; None where none has."""
        return self.stopped_by(self._experiment().get("stop", {}))

    def stopped_by(self, rules: Json) -> str | None:
        """Why these rules have ended it, which may be others than its own; None where they have
        not."""
        last = self.begun() - 1
        if last < 0 or self._gap() is not None or self.result(last, Chosen) is not None:
            return None
        return read_stopped(self.folder, rules, last)

    def spends(self, budget: Budget) -> bool:
        """Whether this budget, which may be larger than its own, is spent and the last model
        evaluated, or no unit is left to buy; and every stage of every cycle is there."""
        last = self.begun() - 1
        if last < 0 or self._gap() is not None:
            return False
        evaluated, chosen = self.result(last, Evaluated), self.result(last, Chosen)
        if chosen is not None:
            return not chosen.ids and (chosen.sold_out or budget.is_last(last))
        return evaluated is not None and budget.is_spent(last, evaluated.cost)

    def heartbeat_age(self) -> float | None:
        """Seconds since the driver's last sign of life; None when it ended in good order."""
        return silence(self.folder)

    def has_died(self) -> bool:
        """Whether its driver surely was killed: it ran on this machine, and is gone."""
        return died(self.folder)

    def _read(self, cycle: int, stage: str) -> Json | None:
        if (cycle, stage) not in self._done:
            out = stage_folder(self.folder, cycle, stage)
            if not out.exists("done.json"):
                return None
            self._done[cycle, stage] = read_done(out)
        return self._done[cycle, stage]

    def _seconds(self, cycle: int) -> dict[str, float | None]:
        done = {stage: self._read(cycle, stage) for stage in STAGES}
        return {f"{stage}_seconds": d["seconds"] if d else None for stage, d in done.items()}

    def _end_of(self, cycle: int, tuned: Mapping[int, FineTuned]) -> Json:
        """The columns of a fine-tuned network, None in cycles without one."""
        there = cycle in tuned
        seconds = read_done(stage_folder(self.folder, cycle, FINAL))["seconds"] if there else None
        value = tuned[cycle].metrics.get(self.headline) if there else None
        return {f"{TUNED}{self.headline}": value, f"{FINAL}_seconds": seconds}

    def _gap(self) -> tuple[int, str] | None:
        """The first stage that is missing although a later one is finished."""
        cycles = range(self.begun())
        fits = any(self._read(cycle, Fitted.stage) is not None for cycle in cycles)
        wanted = [
            (cycle, stage)
            for cycle in cycles
            for stage in STAGES
            if stage in ORDER or fits and self._read(cycle, Scored.stage) is not None
        ]
        stages = [(0, INITIAL), *wanted]
        if (self._read(0, INITIAL) or {}).get(FOLLOWS):  # a strategy had chosen what was bought
            stages[:0] = [(0, FIRST)]
        # The last first: of a run that goes on, a stage may be done as soon as it was looked at.
        there = [self._read(*each) is not None for each in reversed(stages)][::-1]
        first = there.index(False) if False in there else len(there)
        return stages[first] if any(there[first:]) else None


def _experiment(text: str, file: str) -> Json:
    try:
        experiment: Json = yaml.load(text, LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise _damaged(file, told(error)) from error
    if not isinstance(experiment, dict):
        raise _damaged(file, "it holds no experiment")
    return experiment


def _damaged(file: str, reason: Exception | str) -> StorageError:
    why = " ".join(str(reason).split())
    return StorageError(f"{file} is damaged ({why}); restore it from a copy, or {WRITTEN_ANEW}")
