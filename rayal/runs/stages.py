"""The stages of a run folder: what each has come to, and whether they are all there."""

import json
from typing import Any

from rayal.errors import StorageError
from rayal.labeling.budget import Budget
from rayal.labeling.request import Request
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
    Chosen,
    Evaluated,
    FineTuned,
    Fitted,
    Initial,
    Labeled,
    Scored,
    Trained,
)
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder, Json
from rayal.storage.journal import is_done, read_done
from rayal.storage.stage_file import PRUNED


class Stages:
    """What is told of a run by its stages alone, whatever its experiment. Only finished ones have a
    result, so a reader never sees half of one.

    Every method may raise StorageError, where a file cannot be read or is damaged.
    """

    def __init__(self, folder: Folder) -> None:
        """Of a run folder."""
        self.folder = folder
        self._done: dict[tuple[int, str], Json] = {}  # a result never changes, once it is there

    def begun(self) -> int:
        """How many cycles have a folder."""
        return max(cycle_numbers(self.folder), default=-1) + 1

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

    def check_whole(self) -> None:
        """Raises StorageError where a stage is missing although a later one is finished."""
        if (gap := self._gap()) is not None:
            out = stage_folder(self.folder, *gap)
            raise StorageError(
                f"{out.url} is missing although later stages are finished; restore it from a copy,"
                " or give the run's own command again: it does that stage again and checks the"
                " later ones"
            )

    def ends(self, budget: Budget, rules: Json, fine_tunes: bool) -> bool:
        """As `complete`, by a budget that may be larger than its own, other rules of `stop`, and
        fine-tuning or not."""
        last = self.begun() - 1
        return self.is_whole(budget, rules) and (
            not fine_tunes or self.result(last, FineTuned) is not None
        )

    def is_whole(self, budget: Budget, rules: Json) -> bool:
        """Whether the curve ends here: it `spends` the budget, or a rule has ended it before."""
        return self.spends(budget) or self.stopped_by(rules) is not None

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

    def _read(self, cycle: int, stage: str) -> Json | None:
        if (cycle, stage) not in self._done:
            out = stage_folder(self.folder, cycle, stage)
            if not out.exists("done.json"):
                return None
            self._done[cycle, stage] = read_done(out)
        return self._done[cycle, stage]

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
