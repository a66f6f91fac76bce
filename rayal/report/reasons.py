"""Why each unit of a cycle was chosen, in a few words, from the scores of its pass."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayal.cycle.shard_file import shards
from rayal.experiment.experiment import Experiment
from rayal.report.nearest import of_chosen
from rayal.runs.ledger import INITIAL, read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Labeled, Scored
from rayal.storage import csv_file
from rayal.storage.ids import Ids, Places
from rayal.storage.stage_file import of_stage


class Reason(NamedTuple):
    """Why a unit was chosen."""

    rank: int
    """From 1."""
    score: float | None
    """None where the strategy gives none, or the unit is a region."""
    text: str
    """Such as `highest score by margin, rank 3 of 1,300`."""


def reasons(record: Record, x: Experiment, cycle: int) -> dict[str, Reason]:
    """Unit -> reason, of all that a cycle has chosen, the best first; none before it has.

    A strategy that ranks takes the highest scores. Of one that does not, and past guards, the place
    in its own order is told and, where it scores too, how many candidates have a higher score; and
    the nearest unit, where distances are known. Where the pass has no scores, or they were pruned,
    the rank and what the selection wrote down are known.
    """
    chosen, scored = record.result(cycle, Chosen), record.result(cycle, Scored)
    if chosen is None or scored is None:
        return {}
    if record.pruned(cycle, Scored.stage):
        return dict(_without_scores(record, x, chosen, cycle))
    column, strategy = next(iter(x.scored().items()))
    ids, scores = _candidates(record, x, scored, cycle, column)
    nearest = {unit: f", {near}" for unit, near in of_chosen(record, cycle).items()}
    if not len(scores):
        written = _without_scores(record, x, chosen, cycle)
        return {unit: r._replace(text=r.text + nearest.get(unit, "")) for unit, r in written}
    places = Places(ids).of(Ids(chosen.ids))
    drawn = {*chosen.explored}
    own = scores[places[places >= 0]]
    found = {}
    for rank, (unit, place) in enumerate(zip(chosen.ids, places.tolist(), strict=True), start=1):
        score = float(scores[place]) if place >= 0 else None
        if unit in drawn:
            text = _at_random(chosen)
        elif score is None:
            text = f"{column} pick {rank} of {len(chosen.ids):,}"
        elif strategy.ranks() and not x.guards.walks:
            text = f"highest score by {column}, rank {rank:,} of {len(ids):,}"
            if np.count_nonzero(scores == score) > np.count_nonzero(own == score):
                text += "; tie broken by seed"
        else:
            higher = np.count_nonzero(scores > score)
            text = f"{column} pick {rank}, {higher:,} of {len(ids):,} score higher"
        found[unit] = Reason(rank, score, text + nearest.get(unit, ""))
    return found


def _without_scores(
    record: Record, x: Experiment, chosen: Chosen, cycle: int
) -> Iterator[tuple[str, Reason]]:
    """From what the selection wrote down."""
    column = next(iter(x.scored()))
    folder = stage_folder(record.folder, cycle, Chosen.stage)
    with of_stage(folder):
        table = csv_file.parse(folder.read("chosen.csv", chosen.table))
    scores = table["score"].to_pylist()
    drawn = {*chosen.explored}
    for rank, (unit, score) in enumerate(zip(chosen.ids, scores, strict=True), start=1):
        text = f"{column} pick {rank} of {len(chosen.ids):,}"
        text = _at_random(chosen) if unit in drawn else text
        yield unit, Reason(rank, float(score) if score else None, text)


def _at_random(chosen: Chosen) -> str:
    """Why a unit was chosen that the strategy did not choose."""
    return f"drawn at random, 1 of {len(chosen.explored)} among {chosen.drawn_from:,}"


def _candidates(
    record: Record, x: Experiment, scored: Scored, cycle: int, column: str
) -> tuple[Ids, NDArray[np.float64]]:
    """The units that could be chosen and their scores; no scores where the strategy gives none."""
    name = f"score.{column}"
    folder = stage_folder(record.folder, cycle, Scored.stage)
    tables = [*shards(folder, scored, ["id", name])]
    if not tables:
        return Ids(), np.empty(0)
    table = pa.concat_tables(tables)
    if x.scans_labeled():
        known = Places(Ids(_bought(record, cycle)))
        table = table.filter(pa.array(~known.has(Ids(table["id"]))))
    scores = table[name].to_numpy() if name in table.schema.names else np.empty(0)
    return Ids(table["id"]), scores


def _bought(record: Record, cycle: int) -> Iterator[str]:
    """The units that were bought before a cycle."""
    for at, stage in ((0, INITIAL), *((before, Labeled.stage) for before in range(cycle))):
        for unit, *_ in read_labels(stage_folder(record.folder, at, stage)):
            yield unit
