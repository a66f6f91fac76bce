"""What a run has bought: which units it chose, what was answered, and who said so."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from rayal.data.masks import LabelValue
from rayal.labeling.votes import IMPORTED, Vote
from rayal.runs.ledger import INITIAL, read_labels, read_votes, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Initial, Labeled
from rayal.storage import csv_file
from rayal.storage.folder import Folder


class Choice(NamedTuple):
    """A unit that was chosen."""

    cycle: int
    rank: int
    """From 1."""
    id: str
    score: float
    """NaN where the strategy gives none."""
    explored: bool
    """Whether it was drawn at random."""
    propensity: float | None
    """With which probability; NaN for what the strategy chose."""


class Answer(NamedTuple):
    """What was answered about a unit."""

    id: str
    cycle: int
    """-1 before the first training."""
    label: LabelValue | None
    """None where it was refused."""
    cost: float


def choices(record: Record) -> Iterator[Choice]:
    """Every unit that was chosen, cycle by cycle, the best first."""
    for cycle in range(record.begun()):
        chosen = record.result(cycle, Chosen)
        if chosen is None:
            continue
        out = stage_folder(record.folder, cycle, Chosen.stage)
        table = csv_file.parse(out.read("chosen.csv", chosen.table))
        scores = [float(score or "nan") for score in table["score"].to_pylist()]
        marks = dict.fromkeys(chosen.explored, (True, chosen.propensity))
        for rank, (unit, score) in enumerate(zip(chosen.ids, scores, strict=True), start=1):
            yield Choice(cycle, rank, unit, score, *marks.get(unit, (False, math.nan)))


def answers(record: Record) -> Iterator[Answer]:
    """Every answer in the order of purchase; of a unit that was asked for again several."""
    for cycle, folder in _purchases(record):
        for unit, label, cost in read_labels(folder):
            yield Answer(unit, cycle, label, cost)


def votes(record: Record) -> Iterator[tuple[int, Vote]]:
    """Every answer of every annotator, with the cycle of the request, -1 before the first training;
    also of a request that is still open."""
    asked, bought = dict(record.requests()), dict(_purchases(record))
    for cycle in sorted({*asked, *bought}):
        if cycle in asked:
            for told in asked[cycle].votes.values():
                yield from ((cycle, vote) for vote in told)
        else:
            imported = cycle < 0 and record.experiment().get("labeled")
            source = IMPORTED if imported else ""  # nobody told these
            for vote in read_votes(bought[cycle]):
                yield cycle, vote._replace(source=vote.source or source)


def _purchases(record: Record) -> Iterator[tuple[int, Folder]]:
    """Cycle, -1 before the first training, and folder of everything bought so far."""
    cycles = range(record.begun())
    stages = [(0, INITIAL, Initial), *((cycle, Labeled.stage, Labeled) for cycle in cycles)]
    for cycle, stage, kind in stages:
        if record.result(cycle, kind) is not None:
            at = -1 if stage == INITIAL else cycle
            yield at, stage_folder(record.folder, cycle, stage)
