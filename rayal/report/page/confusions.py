"""Which classes are taken for which others: the most frequent pairs over the cycles, and whole
matrices where there is room. C classes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rayal.report.arms import Arm
from rayal.report.page.blocks import Block, Cell, Figure, Fold, Table, Text, number
from rayal.report.page.picks import spread
from rayal.report.page.said import CYCLES, Said

CLASSES = 40
"""Of which a matrix is drawn, at most."""
CELLS = 1_000
"""Of all matrices together, unless there is but one."""
PAIRS, COLUMNS = 8, 12
"""Pairs of classes, and cycles, of which it is said how often one is taken for the other."""


def over_cycles(arm: Arm, said: Sequence[Said], classes: Sequence[str]) -> Iterable[Figure]:
    """The pairs of classes that the last model mistakes most often, and how it was before."""
    counts = said[-1].confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(at), len(classes)) for at in order if counts.flat[at]]
    if not pairs:
        return
    shown = [said[at] for at in spread(len(said), COLUMNS)]
    shares = [_shares(each.confusion) for each in shown]
    values = [[_finite(each[pair]) for each in shares] for pair in pairs]
    names = [f"{classes[true]} → {classes[taken]}" for true, taken in pairs]
    columns = [f"{each.labels:,}" for each in shown]
    title = f"Most frequent confusions by labels: {arm.label}"
    yield Figure(
        title=title,
        draws="heat",
        says="Heat map: how much of a true class, in per cent, is taken for another, a row for each"
        " such pair and a column for each cycle; all of its numbers are in the table below",
        data={
            "rows": names,
            "columns": columns,
            "x": "Labels",
            "values": [[_percent(value) for value in row] for row in values],
            "low": 0,
            "high": 100 * max(value for row in values for value in row if value is not None),
            "digits": 0,
        },
        table=Table(
            title,
            ["true class → taken for", *columns],
            [
                [name, *(number(v, ".1f", 100) for v in row)]
                for name, row in zip(names, values, strict=True)
            ],
            f"per cent of the {_counted(said[-1])} of the true class, by labels; the"
            f" {len(pairs)} most frequent mistakes of the last model",
        ),
    )


def matrices(arm: Arm, said: Sequence[Said], classes: Sequence[str], most: int) -> Iterable[Block]:
    """Matrices of so many cycles at most, the last one open."""
    if not most:
        where = "cycle-NNN/evaluate/confusion.parquet of the run folder has it"
        yield Text(f"No confusion matrix of {len(classes)} classes is drawn here; {where}.", "note")
        return
    shown = [said[-1]] if most == 1 else [said[at] for at in spread(len(said), most)]
    for each in reversed(shown):
        figure = _matrix(arm, each, classes)
        yield Fold(figure.title, [figure], each is said[-1])


def room(classes: int, arms: int, place: int) -> int:
    """How many are drawn of an arm, at this place among those that are looked at."""
    room = CELLS // (arms * classes**2)
    if not room and place == 0 and classes <= CLASSES:
        return 1
    return min(room, CYCLES)


def _matrix(arm: Arm, said: Said, classes: Sequence[str]) -> Figure:
    shares = _shares(said.confusion)
    rows: list[Sequence[Cell]] = [
        [name, *(number(int(value), ",d") for value in said.confusion[place])]
        for place, name in enumerate(classes)
    ]
    title = f"Confusion in cycle {said.cycle}, {said.labels:,} labels: {arm.label}"
    counted = _counted(said)
    return Figure(
        title=title,
        draws="heat",
        says="Confusion matrix: the true class of a row is taken for that of a column, in per cent"
        f" of the row; the numbers of {counted} are in the table below",
        data={
            "rows": [*classes],
            "columns": [*classes],
            "x": "taken for",
            "values": [[_percent(_finite(value)) for value in row] for row in shares],
            "low": 0,
            "high": 100,
            "digits": 0,
        },
        table=Table(title, ["true class", *classes], rows, counted),
    )


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row, 0 to 1, NaN where that is empty."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _counted(said: Said) -> str:
    return "test images" if said.images == said.confusion.sum() else "pixels of test images"
