"""What a run has done: a stage is finished when its folder holds `done.json`, written last.

    run.json  identity.json  lock  lock.json  cycle-000/<stage>/{files of the stage, done.json}
    stopped.json    where a rule has ended the run before its budget was spent

Nothing is remembered outside the folder, so a run that was killed continues from it alone.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from rayal.data.masks import LabelValue
from rayal.errors import StorageError, quoted
from rayal.labeling.answers import Answer, dump_answers, parse_answers
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import VOTES, Vote, by_unit, parse_votes
from rayal.runs.result import StageResult
from rayal.runs.result_files import read_result
from rayal.runs.results import FineTuned, FirstChosen, Fitted, Initial, Labeled
from rayal.storage.failures import suggesting
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.journal import Journal, is_done
from rayal.storage.lock import utc_now
from rayal.storage.stage_file import way_out

FIRST = FirstChosen.stage
"""Where a strategy chooses the first units, the stage that does: before all others."""
INITIAL = Initial.stage
"""The stage before the first cycle, kept in the folder of cycle 0, as FIRST is."""
FOLLOWS = "follows"
"""In `done.json` of a stage, the digest of what it follows from; rayal 0.4 wrote none."""
STAGES = ("train", "evaluate", "fit", "score", "select", "label")
"""The stages of a cycle, in order."""
ORDER = tuple(stage for stage in STAGES if stage != Fitted.stage)
"""Those that every cycle has."""

FINAL = FineTuned.stage
"""A stage beside these: after the last cycle, in whose folder it is, and once more where the run
goes on with a larger budget. It follows from the labels, and nothing from it."""
_PLACED = ("train", "evaluate", FINAL, *STAGES[2:])
STOP = "stop"
"""What ends a run early: a name for events, as those of stages."""
STOPPED = "stopped.json"

NO_EVIDENCE: Mapping[str, FileRecord] = {}

S = TypeVar("S", bound=StageResult)


class PoolState(NamedTuple):
    """All answers bought so far."""

    cycle: int
    """The cycle to do: the first one whose labels are not bought."""
    labels: dict[str, LabelValue]
    """Id -> label, in order of purchase; of a unit that was asked for again, what its last answer
    says."""
    bought: dict[str, int]
    """Id -> cycle of the first purchase, -1 for the initial units; the same ids as `labels`."""
    refused: tuple[str, ...]
    """Units that the oracle could not label, in order of purchase."""
    spent: float
    """Cost of all answers, refusals included, in the budget's unit."""
    paid: int
    """Answers that cost something; those of a unit that was asked for again count each."""

    @property
    def mean_cost(self) -> float | None:
        """Of an answer that was paid for; labels that came free tell nothing. None: there is
        none."""
        return self.spent / self.paid if self.paid else None


class Ledger(Journal):
    """The only writer of a run folder, inside `with Ledger(folder, identity) as ledger:`."""

    def __init__(self, folder: Folder, identity: Json, **options: Any) -> None:
        super().__init__(folder, identity, **options)
        self._read: dict[str, list[Answer]] = {}
        self._heard: dict[str, list[Vote]] = {}
        self._second: dict[str, frozenset[str]] = {}

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

    def stopped(self, cycle: int, rules: Json) -> bool:
        """Whether these rules have ended the run after this cycle."""
        return read_stopped(self.folder, rules, cycle) is not None

    def stop(self, cycle: int, reason: str, rules: Json) -> None:
        """Records that these rules end the run after this cycle, and why."""
        self.check_lock()
        told = {"cycle": cycle, "reason": reason, "rules": rules, "when": utc_now()}
        self.folder.write_sealed(STOPPED, told)

    def go_on(self) -> None:
        """The run goes on: what other rules had said no longer counts."""
        if self.folder.exists(STOPPED):
            self.check_lock()
            self.folder.remove(STOPPED)

    def later(self, cycle: int, stage: str) -> list[Folder]:
        """The finished stages after this one, in order; after FINAL none, as nothing follows it."""
        if stage == FINAL:
            return []
        last = max([cycle, *cycle_numbers(self.folder)])
        order = [(0, FIRST), (0, INITIAL)]
        order += [(other, name) for other in range(last + 1) for name in _PLACED]
        folders = (self.stage(*each) for each in order[order.index((cycle, stage)) + 1 :])
        return [folder for folder in folders if is_done(folder)]

    def state(self, cycle: int | None = None) -> PoolState:
        """Every purchase replayed, or those before a cycle; StorageError where one is damaged, or a
        unit is bought twice that was not asked for again."""
        labels: dict[str, LabelValue] = {}
        bought: dict[str, int] = {}
        refused: dict[str, None] = {}
        costs: list[float] = []
        last = -1
        for last, out in self._purchases(cycle):
            again = self._again(out)
            for unit, value, cost in self._answers(out):
                if (unit in labels) != (unit in again) or unit in refused:
                    there = unit in labels or unit in refused
                    how = "was bought before" if there else "is asked for again, never before"
                    raise StorageError(f"{out.url}: {quoted(unit)} {how}; {way_out(out)}")
                if value is None:
                    refused[unit] = None
                    labels.pop(unit, None)
                    bought.pop(unit, None)
                else:
                    labels[unit] = value
                    bought.setdefault(unit, last)
                costs.append(cost)
        paid = sum(cost > 0 for cost in costs)
        return PoolState(last + 1, labels, bought, tuple(refused), math.fsum(costs), paid)

    def votes(self, cycle: int | None = None) -> dict[str, list[Vote]]:
        """Unit -> the votes that its answers were made from, of every purchase or those before a
        cycle, in order; where none were kept an answer is one vote."""
        found: dict[str, list[Vote]] = {}
        for _, out in self._purchases(cycle):
            if out.url not in self._heard:
                self._heard[out.url] = list(read_votes(out))
            for unit, votes in by_unit(self._heard[out.url]).items():
                found.setdefault(unit, []).extend(votes)
        return found

    def _again(self, out: Folder) -> frozenset[str]:
        if out.url not in self._second:
            self._second[out.url] = frozenset(read_result(Labeled, out).again)
        return self._second[out.url]

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


def read_stopped(run: Folder, rules: Json, cycle: int) -> str | None:
    """Why these rules have ended a run after its last cycle, which is this one; None where they
    have not, or others did."""
    with suggesting("delete it: the run's own command then looks again whether its rules end it"):
        there = run.read_sealed(STOPPED, default=None)
    if there is None or there["cycle"] != cycle or there["rules"] != rules:
        return None
    return str(there["reason"])


def stage_folder(run: Folder, cycle: int, stage: str) -> Folder:
    """Where a stage of a run puts its files."""
    assert cycle >= 0 and stage in (FIRST, INITIAL, FINAL, *STAGES), (cycle, stage)
    return run / f"cycle-{cycle:03d}" / stage


def cycle_numbers(run: Folder) -> list[int]:
    """The cycles of a run that have a folder."""
    names = (name.removeprefix("cycle-") for name in run.names() if name.startswith("cycle-"))
    return sorted(int(number) for number in names if number.isdigit())


def write_labels(
    out: Folder,
    answers: Mapping[str, Label],
    evidence: Mapping[str, FileRecord] = NO_EVIDENCE,
    again: Collection[str] = (),
    counts: Sequence[int] = (),
) -> Labeled:
    """Put answers into a label stage's folder, where what they were made from lies already; returns
    the result that the stage records. `again` are units that had a label before, `counts` what they
    hold of each class.

    Raises DataError for a label that is neither class nor mask, or of another kind than the first,
    and for a cost that is no amount.
    """
    values, costs = [a.value for a in answers.values()], [a.cost for a in answers.values()]
    return Labeled(
        file=out.write("labels.parquet", dump_answers(answers)),
        labels=len(values) - values.count(None),
        refused=values.count(None),
        cost=math.fsum(costs),
        evidence=dict(evidence),
        again=tuple(unit for unit in answers if unit in again),
        class_counts=tuple(counts),
    )


def read_labels(out: Folder) -> Iterator[Answer]:
    """Unit, label (None: refused) and cost of every answer in a label stage's folder."""
    record = read_result(Labeled, out).file
    with suggesting(way_out(out)):
        data = out.read(record.name, record)
    return parse_answers(data)


def read_votes(out: Folder) -> Iterator[Vote]:
    """The votes that the answers in a label stage's folder were made from; where none were kept an
    answer is one vote."""
    answered = {unit: value for unit, value, _ in read_labels(out)}
    record, told = read_result(Labeled, out).evidence.get(VOTES), list[Vote]()
    if record is not None:
        with suggesting(way_out(out)):
            data = out.read(record.name, record)
        # people may have said something of units that they did not label in the end
        told = [vote for vote in parse_votes(data) if vote.unit in answered]
    yield from told
    known = {vote.unit for vote in told}
    yield from (Vote(unit, value) for unit, value in answered.items() if unit not in known)
