"""What a run has done: a stage is finished when its folder holds `done.json`, written last.

    run.json  identity.json  lock  lock.json  cycle-000/<stage>/{files of the stage, done.json}

Nothing is remembered outside the folder, so a run that was killed continues from it alone.
"""

import io
import itertools
import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import rayal
from rayal.errors import DataError, LockedError, StorageError, UsageError
from rayal.lock import Lock, utc_now
from rayal.oracle import Label
from rayal.storage import MISSING, FileRecord, Folder, Json, suggesting

FORMAT = 1
"""Layout of a run folder; a later rayal may write another."""
INITIAL = "initial"
"""The stage before the first cycle, kept in the folder of cycle 0."""
STAGES = ("train", "evaluate", "fit", "score", "select", "label")
"""The stages of a cycle, in order."""
ANSWERS = pa.schema([("id", pa.string()), ("value", pa.int64()), ("cost", pa.float64())])
"""`labels.parquet`; a null value is a refusal."""

logger = logging.getLogger(__name__)


class PoolState(NamedTuple):
    """All answers bought so far."""

    cycle: int
    """The cycle to do: the first one whose labels are not bought."""
    labels: dict[str, int]
    """Id -> label, in order of purchase."""
    bought: dict[str, int]
    """Id -> cycle of the purchase, -1 for the initial units; the same ids as `labels`."""
    refused: tuple[str, ...]
    """Units that the oracle could not label, in order of purchase."""
    spent: float
    """Cost of all answers, refusals included, in the budget's unit."""


class Ledger:
    """The only writer of a run folder, inside `with Ledger(folder, identity) as ledger:`."""

    def __init__(self, folder: Folder, identity: Json, *, break_lock: bool = False) -> None:
        """`identity`: what a run must have in common to be continued, see Experiment.identity."""
        self.folder = folder
        self._identity = json.loads(json.dumps(identity))
        self._break_lock = break_lock
        self._lock = Lock(folder)

    def __enter__(self) -> Self:
        """Raises LockedError where another process writes, or the run has another identity."""
        self._lock.acquire(self._break_lock)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def stage(self, cycle: int, stage: str) -> Folder:
        """The folder where a stage puts its files."""
        return stage_folder(self.folder, cycle, stage)

    def finished(self, cycle: int, stage: str) -> bool:
        """Whether a stage has a result."""
        return self.stage(cycle, stage).exists("done.json")

    def result(self, cycle: int, stage: str) -> Json:
        """The result of a finished stage; StorageError where it is missing or damaged."""
        result: Json = read_done(self.stage(cycle, stage))["result"]
        return result

    def once(self, cycle: int, stage: str, work: Callable[[Folder], Json]) -> Json:
        """The result of a stage; `work` makes it, in the stage's folder, unless it is there.

        Work that was cut short runs again in the same folder, where it finds the files that it
        had written whole. Raises LockedError instead of recording the result where another
        process took over the run.
        """
        if not self.finished(cycle, stage):
            out = self.stage(cycle, stage)
            self._lock.check()
            attempt = {"attempt": self._lock.attempt, "started": utc_now()}
            out.write_json("started.json", attempt)
            started = time.monotonic()
            result = work(out)
            seconds = time.monotonic() - started
            done = {"result": result, **attempt, "seconds": seconds, "finished": utc_now()}
            self._lock.check()
            out.write_sealed("done.json", done)  # last: its existence means the stage is finished
        return self.result(cycle, stage)  # what is recorded, whether it was made now or before

    def state(self) -> PoolState:
        """Every purchase replayed; StorageError where one is damaged or a unit is bought twice."""
        labels: dict[str, int] = {}
        bought: dict[str, int] = {}
        refused: dict[str, None] = {}
        costs: list[float] = []
        cycle = -1
        for cycle, out in self._purchases():
            for unit, value, cost in read_labels(out):
                if unit in labels or unit in refused:
                    raise StorageError(f"{out.url}: {unit!r} was bought before; {_way_out(out)}")
                if value is None:
                    refused[unit] = None
                else:
                    labels[unit], bought[unit] = value, cycle
                costs.append(cost)
        return PoolState(cycle + 1, labels, bought, tuple(refused), math.fsum(costs))

    def _purchases(self) -> Iterator[tuple[int, Folder]]:
        if self.finished(0, INITIAL):
            yield -1, self.stage(0, INITIAL)
        for cycle in itertools.count():
            if not self.finished(cycle, "label"):
                return
            yield cycle, self.stage(cycle, "label")

    def _open(self) -> None:
        run = self.folder.read_sealed("run.json", default=None)
        if run is None:
            run = {"id": uuid.uuid4().hex, "created": utc_now(), "rayal": rayal.__version__}
            self.folder.write_sealed("run.json", {**run, "format": FORMAT})
        elif run["format"] > FORMAT:
            raise UsageError(
                f"{self.folder.url} was made by rayal {run['rayal']}, this is {rayal.__version__};"
                " upgrade: pip install -U rayal"
            )
        else:  # a run, and it is ours: temporary files in it are leftovers of killed writers
            for path in self.folder.sweep():
                logger.info("removed the unfinished file %s", path)
        self._compare_identity()

    def _compare_identity(self) -> None:
        recorded = self.folder.read_sealed("identity.json", default=None)
        if recorded is None:
            self.folder.write_sealed("identity.json", self._identity)
        elif changes := _differences(recorded, self._identity):
            raise LockedError(
                f"{self.folder.url} holds another experiment (there -> here): {', '.join(changes)};"
                " use another --out, or the values that are there"
            )


def stage_folder(run: Folder, cycle: int, stage: str) -> Folder:
    """Where a stage of a run puts its files."""
    assert cycle >= 0 and stage in (INITIAL, *STAGES), (cycle, stage)
    return run / f"cycle-{cycle:03d}" / stage


def read_done(out: Folder) -> Json:
    """What is recorded of a finished stage: result, attempt, seconds, finished (UTC)."""
    with suggesting(_way_out(out)):
        done: Json = out.read_sealed("done.json")
        return done


def write_labels(out: Folder, answers: Mapping[str, Label]) -> Json:
    """Put answers into a label stage's folder; returns the result that the stage records.

    Raises DataError for a label that is no class index, and a cost that is no amount.
    """
    for unit, label in answers.items():
        if label.value is not None and not isinstance(label.value, int | np.integer):
            raise DataError(
                f"unit {unit!r}: the label {label.value!r} is not a class index;"
                " an oracle answers with one, or with None"
            )
        if not (math.isfinite(label.cost) and label.cost >= 0):
            raise DataError(
                f"unit {unit!r}: the cost {label.cost!r} is not an amount; it is 0 or more"
            )
    values, costs = [a.value for a in answers.values()], [a.cost for a in answers.values()]
    table = pa.table([list(answers), values, costs], schema=ANSWERS)
    data = io.BytesIO()
    pq.write_table(table, data, write_page_checksum=True)
    return {
        "file": out.write("labels.parquet", data.getvalue())._asdict(),
        "labels": len(values) - values.count(None),
        "refused": values.count(None),
        "cost": math.fsum(costs),
    }


def read_labels(out: Folder) -> Iterator[tuple[str, int | None, float]]:
    """Unit, label (None: refused) and cost of every answer in a label stage's folder."""
    record = FileRecord(**read_done(out)["result"]["file"])
    with suggesting(_way_out(out)):
        data = io.BytesIO(out.read(record.name, record))
    columns = pq.ParquetFile(data).read(use_threads=False).to_pydict()
    return zip(columns["id"], columns["value"], columns["cost"], strict=True)


def _way_out(out: Folder) -> str:
    return f"delete the folder {out.url} to do that stage again"


def _differences(old: Any, new: Any, at: str = "") -> list[str]:
    """`scheme.lr: 0.1 -> 0.05` for every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = {**old, **new}
        dots = f"{at}." if at else ""
        pairs = [(old.get(k, MISSING), new.get(k, MISSING), f"{dots}{k}") for k in keys]
        return [change for pair in pairs for change in _differences(*pair)]
    return [] if old == new else [f"{at}: {_shown(old)} -> {_shown(new)}"]


def _shown(value: Any) -> str:
    return "(absent)" if value is MISSING else json.dumps(value)
