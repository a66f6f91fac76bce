"""Which large files of a run may go, and when: the one place that knows it.

The loop removes by it as it goes, `rayal prune` afterwards, and a plan counts what will be left. A
file goes when all stages that read it are finished. That it goes is written into its stage's
`done.json` first, so that no reader takes it for damage, wherever the process is killed.
"""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, TypeAlias

from rayal.errors import OUT, PrunedError
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import STAGES, Ledger
from rayal.runs.record import Record
from rayal.runs.result_files import FIT, TRAINED, checked_result
from rayal.runs.results import FineTuned, FirstChosen, Fitted, Scored, Trained
from rayal.storage.folder import FileRecord, Folder
from rayal.storage.journal import read_done
from rayal.storage.lock import utc_now
from rayal.storage.stage_file import DONE, PRUNED

Stage: TypeAlias = tuple[int, str]
"""Cycle and name."""


class Kind(NamedTuple):
    """Files that stay or go together."""

    name: str
    """As `keep` has it."""
    result: type[Trained] | type[Fitted] | type[Scored] | type[FineTuned] | type[FirstChosen]
    """Of the stage that writes them."""

    @property
    def stage(self) -> str:
        """The name of that stage."""
        return self.result.stage


WEIGHTS, SHARDS = Kind("weights", Trained), Kind("shards", Scored)
FITTED = Kind("weights", Fitted)
"""What a strategy had made beside the model: with the model's weights it stays or goes."""
TUNED = Kind("weights", FineTuned)
"""The network that was trained after the last cycle: it is the newest of its own."""
FIRST = Kind("shards", FirstChosen)
"""What the first units were chosen by: the pass of cycle 0 is newer."""
KINDS = (WEIGHTS, FITTED, SHARDS, TUNED, FIRST)


def inputs(x: Experiment, cycle: int, stage: str) -> Iterator[tuple[Kind, int]]:
    """Files that a stage of a run reads, by kind and the cycle that they are of."""
    last = cycle - 1
    if stage == "train":
        if x.start == "warm" and cycle > 0:
            yield WEIGHTS, last
    elif stage == "evaluate" and cycle > 0 and (x.explore or not x.dataset.tested):
        yield from ((WEIGHTS, last), (WEIGHTS, cycle))
    elif stage in ("evaluate", "score", "select") or (stage == "fit" and x.fits()):
        yield WEIGHTS, cycle
    if stage in ("score", "select") and x.fits():
        yield FITTED, cycle
    if stage == "select":
        yield SHARDS, cycle
    if stage == "score" and cycle > 0:
        if any(each.reference(cycle) == "previous" for each in x.scored().values()):
            yield WEIGHTS, last
        if x.keeps_probs(last):
            yield SHARDS, last


def readers(x: Experiment, kind: Kind, cycle: int) -> set[Stage]:
    """The stages that read a cycle's files of a kind."""
    near = [(each, stage) for each in (cycle, cycle + 1) for stage in STAGES]
    return {at for at in near if (kind, cycle) in inputs(x, *at)}


def may_go(
    x: Experiment, kind: Kind, cycle: int, done: Collection[Stage], complete: bool = False
) -> bool:
    """Whether `x.keep` lets a cycle's files of a kind go when these stages are `done`; `complete`
    says that no other will follow."""
    choice = getattr(x.keep, kind.name)
    if choice == "all" or (cycle, kind.stage) not in done:
        return False
    if choice == "none" and complete:
        return True
    first = readers(x, kind, cycle)
    if choice == "last":
        first.add((0, Scored.stage) if kind is FIRST else (cycle + 1, kind.stage))
    return all(each in done for each in first)


class Keeper:
    """Removes what may go while a run is passed through, stage by stage."""

    def __init__(self, x: Experiment, ledger: Ledger) -> None:
        self.x, self.ledger = x, ledger
        self._done: set[Stage] = set()
        self._gone: set[tuple[Kind, int]] = set()

    def passed(self, cycle: int, stage: str) -> None:
        """After each stage in its turn, whether it was done now or before."""
        self._done.add((cycle, stage))
        self._remove(range(max(0, cycle - 1), cycle + 1))

    def end(self) -> None:
        """After the last one of a complete run."""
        self._remove(range(1 + max(cycle for cycle, _ in self._done)), complete=True)

    def all_again(self, record: Record) -> None:
        """Passes through a complete run: whoever completed it may have died before the end."""
        for cycle, stage in record.finished():
            self.passed(cycle, stage)
        self.end()

    def _remove(self, cycles: range, complete: bool = False) -> None:
        for kind in KINDS:
            for cycle in cycles:
                if (kind, cycle) in self._gone:
                    continue
                if may_go(self.x, kind, cycle, self._done, complete):
                    self._gone.add((kind, cycle))
                    prune(kind, self.ledger.stage(cycle, kind.stage), self.ledger.check_lock)


def prune(kind: Kind, out: Folder, check_lock: Callable[[], None]) -> None:
    """Removes the files of this kind from a finished stage's folder, and what an earlier attempt at
    that left. Raises LockedError where another process took over."""
    done = read_done(out)
    check_lock()
    if PRUNED not in done:
        files = checked_result(kind.result, done["result"], out).files()
        size = sum(file.bytes for file in files)
        mark = {"kind": kind.name, "files": len(files), "bytes": size, "when": utc_now()}
        out.write_sealed(DONE, {**done, PRUNED: mark})  # first: what is missing is no damage then
    out.remove_all([file.name for file in there(kind, out)])


def there(kind: Kind, out: Folder) -> list[FileRecord]:
    """The files of this kind that a finished stage still has, with what says that they are whole;
    of that the bytes are not known, and count as none."""
    files = checked_result(kind.result, read_done(out)["result"], out).files()
    places = dict.fromkeys(file.name.rpartition("/")[0] for file in files)
    sealed = FIT if kind is FITTED else TRAINED
    files += [FileRecord(f"{place}/{sealed}".lstrip("/"), 0, "") for place in places]
    names = {
        f"{place}/{name}".lstrip("/")
        for place in places
        for name in (out / place if place else out).names()
    }
    return [file for file in files if file.name in names]


def gone(record: Record) -> set[tuple[Kind, int]]:
    """What was pruned from a run, by kind and cycle."""
    each = [(kind, cycle) for kind in KINDS for cycle in range(record.begun())]
    return {(kind, cycle) for kind, cycle in each if record.pruned(cycle, kind.stage)}


def missing(
    x: Experiment, done: Collection[Stage], pruned: Collection[tuple[Kind, int]]
) -> list[tuple[Stage, Kind, int]]:
    """What the next stages of a run would read, were it not pruned: stage, kind and cycle."""
    last = max((cycle for cycle, _ in done), default=0)
    ahead = [(c, s) for c in (last, last + 1) for s in STAGES if (c, s) not in done]
    return [(at, *each) for at in ahead for each in inputs(x, *at) if each in pruned]


def check_goes_on(x: Experiment, record: Record) -> None:
    """Raises PrunedError where what the next stages of a run read was pruned."""
    for (at, stage), kind, cycle in missing(x, record.finished(), gone(record)):
        raise PrunedError(
            f"{record.folder.url} cannot go on: {stage} of cycle {at} reads the {kind.name} of"
            f" cycle {cycle}, which were pruned; run the experiment anew with"
            f" keep.{kind.name}=last and another {OUT}: on a CPU the same seed gives the same bytes"
        )
