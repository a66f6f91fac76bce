"""Whether what was bought is of all classes as the pool is, or of some of them more than of others.

Of a pool that people label nobody knows the classes: there is what was bought alone. C classes.
"""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from rayal.report.arms import Arm
from rayal.report.balance import balance
from rayal.report.class_counts import Counts, bought_counts, pool_counts
from rayal.report.groups import Group
from rayal.report.page.blocks import Block, Cell, Figure, Section, Table, number
from rayal.report.page.originals import Original, Originals
from rayal.report.page.seen import Seen
from rayal.runs.record import Record
from rayal.storage.folder import Json

Bought = Mapping[str, Sequence[Counts]]
"""Arm -> what each of its seeds bought."""
MOST = 2.0
"""Times the pool's share at which a cell has its full colour."""
LEVEL = 0.05


def section(seen: Seen, originals: Originals) -> Section | None:
    """The share of each class among the picks, by arm; of masks that of their pixels."""
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
    pool, counted = _pool(record, originals, len(classes)), "pixels" if record.dense else "units"
    if pool is None:
        return [_alone(classes, bought, counted)]
    return _beside(classes, bought, pool, counted)


def _bought(seen: Seen, arm: Arm, classes: int) -> list[Counts]:
    """How many of each class each seed of an arm bought after the first labels; nothing where that
    is not known of one, or nothing was bought."""
    found = list[Counts]()
    for run in arm.runs:
        counts = bought_counts(seen.record(run), classes)
        if counts is None:
            return []
        found.append(counts)
    return found if any(counts.any() for counts in found) else []


def _pool(record: Record, originals: Originals, classes: int) -> Counts | None:
    """Of the whole pool, where it may be known: as the run keeps it; of an older rayal, as its
    images do."""
    kept = pool_counts(record, classes)
    if kept is not None:
        return kept
    original = originals.of(record)
    if not isinstance(original, Original) or not original.simulated:
        return None
    counts = np.array(original.store.card.class_counts.get("pool", ()), np.int64)
    return counts if counts.any() else None


def _alone(classes: Sequence[str], bought: Bought, counted: str) -> Figure:
    shares = {arm: _share(sum(seeds)) for arm, seeds in bought.items()}
    title = "Share of each class among the picks (%)"
    values = [[100 * float(shares[arm][at]) for arm in shares] for at in range(len(classes))]
    return Figure(
        title=title,
        draws="heat",
        says="Heat map of the share of each class, a column for each arm; the shares are in the"
        " table below",
        data=_data(classes, [*shares], values) | {"high": max(map(max, values)), "digits": 0},
        table=_table(title, classes, shares, counted),
    )


def _beside(classes: Sequence[str], bought: Bought, pool: Counts, counted: str) -> list[Block]:
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
        table=_table(title, classes, {"pool": there, **shares}, counted, values),
    )
    return [figure, _divergence(bought, pool, counted)]


def _divergence(bought: Bought, pool: Counts, counted: str) -> Table:
    """Of pixels, which are bought many at once, no test says whether chance does this too."""
    rows: list[Sequence[Cell]] = []
    for arm, seeds in bought.items():
        each = [balance(counts, pool) for counts in seeds if counts.any()]
        apart = sum(found.p is not None and found.p < LEVEL for found in each)
        rows.append([arm, number(mean(found.divergence for found in each), ".4f")])
        if counted == "units":
            rows[-1] = [*rows[-1], f"{apart} of {len(each)}"]
    header = ["arm", "divergence from the pool (bits)"]
    note = "Kullback and Leibler's divergence of the shares bought from the pool's, mean over seeds"
    if counted == "units":
        header.append("seeds that differ from a random choice")
        note += "; Pearson's chi-square test at 5 %"
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
    counted: str,
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
    note = f"share of all {counted} that the seeds of an arm bought after the first ones"
    return Table(title, header, rows, note)
