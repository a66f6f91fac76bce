"""What a run has done: a stage is finished when its folder holds `done.json`, written last.

    run.json  identity.json  lock  lock.json  cycle-000/<stage>/{files of the stage, done.json}

Nothing is remembered outside the folder, so a run that was killed continues from it alone.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from rayal.data.masks import LabelValue
from rayal.errors import StorageError, quoted
from rayal.labeling.answers import Answer, dump_answers, parse_answers
from rayal.labeling.oracles.base import Label
from rayal.runs.results import Fitted, Initial, Labeled, StageResult, read_result
from rayal.storage.folder import Folder, Json, suggesting, way_out
from rayal.storage.journal import Journal, is_done

INITIAL = Initial.stage
"""The stage before the first cycle, kept in the folder of cycle 0."""
STAGES = ("train", "evaluate", "fit", "score", "select", "label")
"""The stages of a cycle, in order."""
ORDER = tuple(stage for stage in STAGES if stage != Fitted.stage)
"""Those that every cycle has."""

S = TypeVar("S", bound=StageResult)


class PoolState(NamedTuple):
    """All answers bought so far."""

    cycle: int
    """The cycle to do: the first one whose labels are not bought."""
    labels: dict[str, LabelValue]
    """Id -> label, in order of purchase."""
    bought: dict[str, int]
    """Id -> cycle of the purchase, -1 for the initial units; the same ids as `labels`."""
    refused: tuple[str, ...]
    """Units that the oracle could not label, in order of purchase."""
    spent: float
    """Cost of all answers, refusals included, in the budget's unit."""


class Ledger(Journal):
    """The only writer of a run folder, inside `with Ledger(folder, identity) as ledger:`."""

    def __init__(self, folder: Folder, identity: Json, **options: Any) -> None:
        super().__init__(folder, identity, **options)
        self._read: dict[str, list[Answer]] = {}

    def stage(self, cycle: int, stage: str) -> Folder:
        """The folder where a stage puts its files."""
        return stage_folder(self.folder, cycle, stage)

    def finished(self, cycle: int, stage: str) -> bool:
        """Whether a stage has a result."""
        return is_done(self.stage(cycle, stage))

    def result(self, cycle: int, kind: type[S]) -> S:
        """The result of a finished stage; StorageError where it is missing or damaged."""
        return read_result(kind, self.stage(cycle, kind.stage))

    def once(
        self, cycle: int, kind: type[S], work: Callable[[Folder], StageResult], **beside: str
    ) -> S:
        """The result of a stage; `work` makes it unless it is there, see `Journal.done_once`."""
        out = self.stage(cycle, kind.stage)
        self.done_once(out, lambda out: work(out).to_json(), **beside)
        return read_result(kind, out)

    def later(self, cycle: int, stage: str) -> list[Folder]:
        """The finished stages after this one, in order."""
        number = 0 if stage == INITIAL else STAGES.index(stage) + 1
        last = max(cycle_numbers(self.folder), default=-1)
        rest = [(cycle, name) for name in STAGES[number:]]
        rest += [(other, name) for other in range(cycle + 1, last + 1) for name in STAGES]
        folders = (self.stage(*each) for each in rest)
        return [folder for folder in folders if is_done(folder)]

    def state(self, cycle: int | None = None) -> PoolState:
        """Every purchase replayed, or those before a cycle; StorageError where one is damaged or a
        unit is bought twice."""
        labels: dict[str, LabelValue] = {}
        bought: dict[str, int] = {}
        refused: dict[str, None] = {}
        costs: list[float] = []
        last = -1
        for last, out in self._purchases(cycle):
            for unit, value, cost in self._answers(out):
                if unit in labels or unit in refused:
                    raise StorageError(
                        f"{out.url}: {quoted(unit)} was bought before; {way_out(out)}"
                    )
                if value is None:
                    refused[unit] = None
                else:
                    labels[unit], bought[unit] = value, last
                costs.append(cost)
        return PoolState(last + 1, labels, bought, tuple(refused), math.fsum(costs))

    def _answers(self, out: Folder) -> list[Answer]:
        """As `read_labels`, read once: a finished stage never changes."""
        if out.url not in self._read:
            self._read[out.url] = list(read_labels(out))
        return self._read[out.url]

    def _purchases(self, before: int | None) -> Iterator[tuple[int, Folder]]:
        if self.finished(0, INITIAL):
            yield -1, self.stage(0, INITIAL)
        for cycle in itertools.count() if before is None else range(before):
            if not self.finished(cycle, "label"):
                return
            yield cycle, self.stage(cycle, "label")


def stage_folder(run: Folder, cycle: int, stage: str) -> Folder:
    """Where a stage of a run puts its files."""
    assert cycle >= 0 and stage in (INITIAL, *STAGES), (cycle, stage)
    return run / f"cycle-{cycle:03d}" / stage


def cycle_numbers(run: Folder) -> list[int]:
    """The cycles of a run that have a folder."""
    names = (name.removeprefix("cycle-") for name in run.names() if name.startswith("cycle-"))
    return sorted(int(number) for number in names if number.isdigit())


def write_labels(out: Folder, answers: Mapping[str, Label]) -> Labeled:
    """Put answers into a label stage's folder; returns the result that the stage records.

    Raises DataError for a label that is neither class nor mask, or of another kind than the first,
    and for a cost that is no amount.
    """
    values, costs = [a.value for a in answers.values()], [a.cost for a in answers.values()]
    return Labeled(
        file=out.write("labels.parquet", dump_answers(answers)),
        labels=len(values) - values.count(None),
        refused=values.count(None),
        cost=math.fsum(costs),
    )


def read_labels(out: Folder) -> Iterator[Answer]:
    """Unit, label (None: refused) and cost of every answer in a label stage's folder."""
    record = read_result(Labeled, out).file
    with suggesting(way_out(out)):
        data = out.read(record.name, record)
    return parse_answers(data)
