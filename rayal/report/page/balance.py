"""Whether what was bought is of all classes as the pool is, or of some of them more than of others.

Of a pool that people label nobody knows the classes: there is what was bought alone. C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from rayal.report.arms import Arm
from rayal.report.balance import balance
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Cell, Figure, Section, Table, number
from rayal.report.page.originals import Original, Originals
from rayal.report.page.seen import Seen
from rayal.runs.ledger import read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Labeled
from rayal.storage.folder import Json

Counts = NDArray[np.int64]  # C
Bought = Mapping[str, Sequence[Counts]]
"""Arm -> what each of its seeds bought."""
MOST = 2.0
"""Times the pool's share at which a cell has its full colour."""
LEVEL = 0.05


def section(seen: Seen, originals: Originals) -> Section | None:
    """Of tasks with one class for each unit: the share of each class among the picks, by arm."""
    blocks = {group.question: _blocks(seen, group, originals) for group in seen.groups}
    found = [*seen.parts(blocks)]
    return Section("Classes of the picks", found) if found else None


def _blocks(seen: Seen, group: Group, originals: Originals) -> Sequence[Block]:
    record = seen.one_of(group.arms[0])
    classes = record.classes()
    if classes is None:
        return []
    found = {arm.label: _bought(seen, arm, len(classes)) for arm in group.arms}
    bought = {arm: seeds for arm, seeds in found.items() if seeds}
    if not bought:
        return []
    original = originals.of(record)
    pool = _pool(original, len(classes)) if isinstance(original, Original) else None
    return [_alone(classes, bought)] if pool is None else _beside(classes, bought, pool)


def _bought(seen: Seen, arm: Arm, classes: int) -> list[Counts]:
    """How many of each class each seed of an arm bought after the first labels; nothing of masks,
    and where nothing was bought."""
    found = list[Counts]()
    for run in arm.runs:
        values = [*_labels(seen.record(run))]
        if not all(isinstance(value, int) for value in values):
            return []
        found.append(np.bincount(np.array(values, np.int64), minlength=classes))
    return found if any(counts.any() for counts in found) else []


def _labels(record: Record) -> Iterable[object]:
    for cycle in range(record.begun()):
        if record.result(cycle, Labeled) is not None:
            for _, value, _ in read_labels(stage_folder(record.folder, cycle, Labeled.stage)):
                if value is not None:
                    yield value


def _pool(original: Original, classes: int) -> Counts | None:
    """Of the whole pool, where it may be known."""
    if not original.simulated:
        return None
    labels = original.store.labels("pool", original.store.pool.ids())
    known = [value for value in labels.values() if isinstance(value, int)]
    return np.bincount(known, minlength=classes) if known else None


def _alone(classes: Sequence[str], bought: Bought) -> Figure:
    shares = {arm: _share(sum(seeds)) for arm, seeds in bought.items()}
    title = "Share of each class among the picks (%)"
    values = [[100 * float(shares[arm][at]) for arm in shares] for at in range(len(classes))]
    return Figure(
        title=title,
        draws="heat",
        says="Heat map of the share of each class, a column for each arm; the shares are in the"
        " table below",
        data=_data(classes, [*shares], values) | {"high": max(map(max, values)), "digits": 0},
        table=_table(title, classes, shares),
    )


def _beside(classes: Sequence[str], bought: Bought, pool: Counts) -> list[Block]:
    shares, there = {arm: _share(sum(seeds)) for arm, seeds in bought.items()}, _share(pool)
    title = "Share of each class among the picks, as a multiple of the pool's"
    values = [
        [float(shares[arm][at] / there[at]) if there[at] else None for arm in shares]
        for at in range(len(classes))
    ]
    figure = Figure(
        title=title,
        draws="heat",
        says="Heat map, a row for each class and a column for each arm: 1 is bought as often as it"
        " is in the pool, 2 twice as often; the shares are in the table below",
        data=_data(classes, [*shares], values)
        | {"high": MOST, "more": True, "middle": 1, "digits": 2},
        table=_table(title, classes, {"pool": there, **shares}, values),
    )
    return [figure, _divergence(bought, pool)]


def _divergence(bought: Bought, pool: Counts) -> Table:
    rows: list[Sequence[Cell]] = []
    for arm, seeds in bought.items():
        each = [balance(counts, pool) for counts in seeds if counts.any()]
        apart = sum(found.p is not None and found.p < LEVEL for found in each)
        rows.append(
            [
                arm,
                number(mean(found.divergence for found in each), ".4f"),
                f"{apart} of {len(each)}",
            ]
        )
    header = ["arm", "divergence from the pool (bits)", "seeds that differ from a random choice"]
    note = (
        "Kullback and Leibler's divergence of the shares bought from the pool's, mean over seeds;"
        " Pearson's chi-square test at 5 %"
    )
    return Table("Balance of the picks", header, rows, note)


def _share(counts: Counts | int) -> NDArray[np.float64]:
    values = np.asarray(counts, np.float64)
    shares: NDArray[np.float64] = values / values.sum()
    return shares


def _data(
    classes: Sequence[str], arms: Sequence[str], values: Sequence[Sequence[float | None]]
) -> Json:
    return {"rows": [*classes], "columns": [*arms], "x": "", "values": values, "low": 0}


def _table(
    title: str,
    classes: Sequence[str],
    shares: Mapping[str, NDArray[np.float64]],
    times: Sequence[Sequence[float | None]] = (),
) -> Table:
    """The shares, and behind those of each arm its multiples of the pool's, where there are some:
    `times` has a row for each class."""
    header, rows = ["class"], list[list[Cell]]([name] for name in classes)
    for column, (name, share) in enumerate(shares.items(), start=-1):
        header.append(f"{name} (%)")
        header += [f"{name} / pool"] if times and column >= 0 else []
        for place, row in enumerate(rows):
            row.append(number(float(share[place]), ".2f", 100))
            row += [number(times[place][column], ".2f")] if times and column >= 0 else []
    note = "share of all units that the seeds of an arm bought after the first ones"
    return Table(title, header, rows, note)
