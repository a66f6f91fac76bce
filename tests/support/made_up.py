"""Run folders that nobody ran: numbers of any size, and names of any kind, in milliseconds."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayal.cycle.calibration import calibrated
from rayal.labeling.oracles.base import Label
from rayal.runs.confusion import write_confusion
from rayal.runs.find_records import find_records
from rayal.runs.ledger import Ledger, write_labels
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated, Initial, Labeled, Scored, Trained
from rayal.storage.folder import Folder
from tests.support.doubles import evaluated, trained

HOSTILE = (
    "<script>window.hacked=1</script>",
    "</script><img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "{{ 7 * 7 }}{% raw %}",
    "$$\\frac{1}{0}$$ \\(x\\)",
    "=cmd|' /C calc'!A0",
    "javascript:window.hacked=1",
    "\u2028\u202e]]>&lt;b&gt;",
)
"""Names that are HTML, scripts, templates, mathematics, formulas, or end something."""


def run(
    folder: Path,
    *,
    strategy: str = "random",
    seed: int = 0,
    cycles: int = 3,
    name: str = "made_up",
    classes: Sequence[str] = ("cat", "dog"),
    height: float = 0.5,
    unit: str = "unit-{}",
    confusion: NDArray[np.int64] | None = None,
    pool: Sequence[int] = (),
    **metrics: Any,
) -> Record:
    """A complete run: ten labels at first, ten more in each cycle; accuracy grows by 0.1 a cycle
    from `height`, and by 0.001 for each seed. With a `confusion` of C classes it is that of every
    cycle, times its number, and there is a calibration; `pool` has the classes of the pool."""
    identity = {"data": "0" * 64, "store": {"classes": [*classes], "tested": True}}
    with Ledger(Folder(folder), identity) as ledger:
        ledger.once(0, Initial, lambda out: _begin(out, unit, len(classes), pool))
        for cycle in range(cycles):
            found = evaluated(
                10 * (cycle + 1),
                accuracy=height + 0.1 * cycle + 0.001 * seed,
                nll=1.0 / (cycle + 1) + 0.01 * seed,
                per_class_accuracy=[height + 0.001 * (at + seed) for at in range(len(classes))],
                **metrics,
            )
            ledger.once(cycle, Trained, lambda out: trained())
            kept = partial(_kept, found, cycle, confusion)
            ledger.once(cycle, Evaluated, kept)
            if cycle < cycles - 1:
                _buy(ledger, cycle, _answers(unit, cycle, len(classes)), len(classes))
    fields = {
        "name": name,
        "seed": seed,
        "budget": {"initial": 10, "per_cycle": 10, "total": 10 * cycles},
        "task": {"name": "classification"},
        "dataset": {"name": "x"},
        "strategy": {"name": strategy},
        "scheme": {"name": "supervised"},
    }
    (folder / "experiment.yaml").write_text(json.dumps(fields))
    (record,) = find_records([str(folder)])
    return record


def again(record: Record, folder: Path, **fields: Any) -> Record:
    """The same run in another folder, with other fields of its experiment: sooner made."""
    shutil.copytree(record.folder.url, folder)
    (folder / "experiment.yaml").write_text(json.dumps({**record.experiment(), **fields}))
    (found,) = find_records([str(folder)])
    return found


def _begin(out: Folder, unit: str, classes: int, pool: Sequence[int]) -> Initial:
    bought = write_labels(out, _answers(unit, -1, classes), counts=_counts(classes))
    return Initial(**dict(bought), pool_counts=tuple(pool))


def _kept(
    found: Evaluated, cycle: int, confusion: NDArray[np.int64] | None, out: Folder
) -> Evaluated:
    if confusion is None:
        return found
    logits = np.random.default_rng(cycle).normal(0, 1, (20, len(confusion)))
    kept = {
        "images": int((cycle + 1) * confusion.sum()),
        "confusion": write_confusion(out, (cycle + 1) * confusion),
        "calibration": calibrated(logits, np.arange(20) % len(confusion)),
    }
    return found.model_copy(update=kept)


def _counts(classes: int) -> list[int]:
    """Of ten answers."""
    return np.bincount(np.arange(10) % classes, minlength=classes).tolist()


def _answers(unit: str, cycle: int, classes: int) -> dict[str, Label]:
    return {unit.format(10 * (cycle + 1) + n): Label(n % classes, 1.0) for n in range(10)}


def _buy(ledger: Ledger, cycle: int, answers: dict[str, Label], classes: int) -> None:
    chosen = Chosen(ids=tuple(answers), cost=float(len(answers)))
    ledger.once(cycle, Scored, lambda out: Scored(units=0, columns=(), shards=()))
    ledger.once(cycle, Chosen, lambda out: chosen)
    counts = _counts(classes)
    ledger.once(cycle, Labeled, lambda out: write_labels(out, answers, counts=counts))
