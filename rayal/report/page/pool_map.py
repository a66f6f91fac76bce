"""A map of the pool: its features in two dimensions, and what each cycle bought.

The features are those of a dataset of features, or what a scoring pass kept. A pass leaves out what
was bought before it unless its strategy looks at that too: of such passes the newest is taken, else
the first. N units of D features.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayal.cycle.shard_file import shards
from rayal.data.masks import LabelValue
from rayal.errors import RayalError, counted
from rayal.report.arms import Arm
from rayal.report.page.blocks import Cell, Figure, Fold, Section, Table, Text, number
from rayal.report.page.originals import Original, Originals
from rayal.report.page.projections import Projected, Values, projected
from rayal.report.page.seen import Seen
from rayal.report.page.thumbnails import Thumbnails
from rayal.report.slices import shown
from rayal.runs.ledger import INITIAL, read_labels, stage_folder
from rayal.runs.record import Record
from rayal.runs.results import Labeled, Scored
from rayal.storage.folder import Json

FEATURES = "keep.features"
AROUND = 2_000
"""Units of the whole pool beside those that were bought, at most; drawn by seed 0. The directions
of the map are theirs, so that what was bought does not turn it."""
MOST = 2_000
"""Units that were bought, at most; the first."""
ARMS = 4
"""Maps on a page, at most."""
WITHOUT = "this pass left out what was bought before it."
CHUNK = 8_192
"""Units of a dataset of features in memory at a time."""


class Known(NamedTuple):
    """The features of some units."""

    ids: list[str]  # N
    features: Values  # N D
    drawn: NDArray[np.bool_]  # N: drawn by chance from the whole pool, bought or not
    source: str
    """What said them, in words."""


class _Seen(NamedTuple):
    """A pool as the run of one arm saw it."""

    arm: Arm
    original: Original
    bought: Mapping[str, int]
    known: Known


def section(seen: Seen, originals: Originals, thumbnails: Thumbnails) -> Section | None:
    """A map for each arm whose run has kept features."""
    pools, notes, without = list[_Seen](), dict[str, None](), list[str]()
    for arm in (arm for group in seen.groups for arm in group.arms):
        if len(pools) == ARMS:
            notes[f"Maps of the first {ARMS} arms that kept features alone."] = None
            break
        record = seen.one_of(arm)
        try:
            original = originals.of(record)
            if isinstance(original, str):
                continue
            bought = _bought(record)
            known = known_features(record, original, bought)
        except RayalError as error:
            notes[str(error)] = None
            continue
        if known is None or len(known.ids) < 3:
            without.append(arm.label)
        else:
            pools.append(_Seen(arm, original, bought, known))
    if not pools:
        return None
    if without:
        notes[f"No map of {', '.join(without)}: these kept no features."] = None
    room = thumbnails.room // len(pools)
    folds = [_fold(seen, each, Thumbnails(room), not at, notes) for at, each in enumerate(pools)]
    return Section("Map of the pool", [*folds, *(Text(note, "note") for note in notes)])


def _fold(
    seen: Seen, of: _Seen, thumbnails: Thumbnails, is_open: bool, notes: dict[str, None]
) -> Fold:
    """The map of one pool; `notes` gets why there are no pictures."""
    arm, original, bought, known = of
    pictures: dict[str, str] = {}
    try:
        pictures = _pictures(original, known.ids, bought, thumbnails)
    except RayalError as error:
        notes[str(error)] = None
    labels = _labels(original, known.ids)
    found = projected(known.features, seen.map_by, known.drawn)
    figure = _figure(arm, found, known, bought, labels, pictures)
    told = [found.note] if found.note else []
    if lacks := len({*bought} - {*known.ids}):
        told.append(f"{lacks:,} of {counted(len(bought), 'unit')} bought are not on it: {WITHOUT}")
    if 0 < len(pictures) < len(known.ids):
        told.append(f"Room for pictures of {len(pictures):,} of {len(known.ids):,} units.")
    title = f"Pool as {arm.label} saw it, seed {seen.seed_of(arm)}"
    return Fold(title, [figure, *(Text(note, "note") for note in told)], is_open)


def _bought(record: Record) -> dict[str, int]:
    """Unit -> the cycle that bought it, -1 for the first ones."""
    found: dict[str, int] = {}
    for cycle, at, stage in [
        (-1, 0, INITIAL),
        *((cycle, cycle, Labeled.stage) for cycle in range(record.begun())),
    ]:
        folder = stage_folder(record.folder, at, stage)
        if folder.exists("done.json"):
            for unit, *_ in read_labels(folder):
                found.setdefault(unit, cycle)
    return found


def known_features(record: Record, original: Original, bought: Mapping[str, int]) -> Known | None:
    """Of what was bought and of a sample of the pool; None where the run has none."""
    wanted = dict(list(bought.items())[:MOST])
    if not original.visible:
        return _of_vectors(original, wanted)
    for cycle in _passes(record, original):
        scored = record.result(cycle, Scored)
        if scored is None or record.pruned(cycle, Scored.stage):
            continue
        folder = stage_folder(record.folder, cycle, Scored.stage)
        tables = shards(folder, scored, ["id", FEATURES])
        found = _taken(tables, wanted, scored.units)
        if found is not None:
            return Known(*found, f"features of the model of cycle {cycle}")
    return None


def _passes(record: Record, original: Original) -> list[int]:
    """The cycles whose pass is asked for features, in this order."""
    cycles = [*range(record.begun())]
    return cycles[::-1] if original.x.scans_labeled() else cycles


def _of_vectors(original: Original, wanted: Mapping[str, int]) -> Known:
    """Those of a dataset of features: the same for every model."""
    pool = original.store.pool
    ids = pool.ids()
    places = np.random.default_rng(0).permutation(len(ids))[:AROUND]
    drawn = {ids[place] for place in sorted(places.tolist())}
    chosen = [*wanted, *(unit for unit in ids if unit in drawn and unit not in wanted)]
    decoded = [pool.decode(rows) for rows in pool.chunks(chosen, CHUNK)]
    names = [unit for each in decoded for unit in each.ids]
    features = np.concatenate([each.images for each in decoded]).astype(np.float64)
    return Known(names, features, np.array([unit in drawn for unit in names]), "features")


def _taken(
    tables: Iterator[pa.Table], wanted: Mapping[str, int], units: int
) -> tuple[list[str], Values, NDArray[np.bool_]] | None:
    """Of shards: ids, features and `Known.drawn` of what was bought and about AROUND units."""
    rng, share = np.random.default_rng(0), AROUND / max(1, units)
    ids, parts, chances = list[str](), list[Values](), list[NDArray[np.bool_]]()
    for table in tables:
        if FEATURES not in table.schema.names:
            return None
        names = table["id"].to_pylist()
        drawn = rng.random(len(names)) < share
        kept = [at for at, unit in enumerate(names) if drawn[at] or unit in wanted]
        ids += [names[at] for at in kept]
        chances.append(drawn[kept])
        column = table[FEATURES].take(pa.array(kept, pa.int64())).combine_chunks()
        width = column.type.list_size
        parts.append(column.flatten().to_numpy().reshape(-1, width).astype(np.float64))
    return (ids, np.concatenate(parts), np.concatenate(chances)) if parts else None


def _pictures(
    original: Original,
    ids: Sequence[str],
    bought: Mapping[str, int],
    thumbnails: Thumbnails,
) -> dict[str, str]:
    """Unit -> its picture: of what was bought, then of the others, as far as there is room."""
    if not original.visible:
        return {}
    order = sorted(ids, key=lambda unit: unit not in bought)
    images = set(original.store.pool.ids())
    found: dict[str, str] = {}
    for start in range(0, len(order), 64):
        units = [unit for unit in order[start : start + 64] if unit in images]
        decoded = original.store.pool.decode(original.store.pool.take(units))
        for unit, image in zip(decoded.ids, decoded.images, strict=True):
            if (uri := thumbnails.made(shown(image))) is None:
                return found
            found[unit] = uri
    return found


def _labels(original: Original, ids: Sequence[str]) -> dict[str, str]:
    """Unit -> the name of its class, where it may be known."""
    if not original.simulated or original.x.task.dense:
        return {}
    classes = original.store.card.classes
    there = set(original.store.pool.ids())
    found: Mapping[str, LabelValue] = original.store.labels("pool", [i for i in ids if i in there])
    return {unit: classes[label] for unit, label in found.items() if isinstance(label, int)}


def _figure(
    arm: Arm,
    found: Projected,
    known: Known,
    bought: Mapping[str, int],
    labels: Mapping[str, str],
    pictures: Mapping[str, str],
) -> Figure:
    cycles, placed = [bought.get(unit) for unit in known.ids], found.places
    return Figure(
        title=f"{found.name} of {known.source}: {arm.label}",
        draws="map",
        says=f"Map of {counted(len(known.ids), 'unit')} by {found.name}; coloured dots were bought,"
        " each cycle's in a colour of its own; the table below tells where they lie",
        data=_data(known.ids, placed, cycles, labels, pictures) | {"axes": [*found.axes]},
        table=_table(arm, known, placed, cycles),
    )


def _data(
    ids: Sequence[str],
    placed: Values,
    cycles: Sequence[int | None],
    labels: Mapping[str, str],
    pictures: Mapping[str, str],
) -> Json:
    """Places as exactly as a screen shows them; of a label its place among `classes`, -1 where it
    is not known; pictures by the unit's place."""
    classes = sorted({*labels.values()})
    code = {name: at for at, name in enumerate(classes)}
    widest = float(np.ptp(placed, axis=0).max())
    digits = 4 - math.ceil(math.log10(widest)) if widest > 0 else 0
    return {
        "x": placed[:, 0].round(digits).tolist(),
        "y": placed[:, 1].round(digits).tolist(),
        "ids": [*ids],
        "cycles": [*cycles],
        "classes": classes,
        "labels": [code[labels[unit]] if unit in labels else -1 for unit in ids],
        "pictures": {str(at): pictures[unit] for at, unit in enumerate(ids) if unit in pictures},
    }


def _table(arm: Arm, known: Known, placed: Values, cycles: Sequence[int | None]) -> Table:
    """Where each cycle's units lie, and how far they spread."""
    rows: list[Sequence[Cell]] = []
    for cycle in sorted({c for c in cycles if c is not None}):
        units = placed[[at for at, c in enumerate(cycles) if c == cycle]]
        told = "first labels" if cycle < 0 else f"cycle {cycle}"
        rows.append([told, number(len(units), ",d"), *_spread(units)])
    others = placed[[at for at, c in enumerate(cycles) if c is None]]
    if len(others):
        rows.append(["not bought, a sample", number(len(others), ",d"), *_spread(others)])
    header = ["bought by", "units", "x", "± sd", "y", "± sd"]
    return Table(
        f"Places on the map: {arm.label}", header, rows, f"mean and deviation of {known.source}"
    )


def _spread(units: Values) -> list[Cell]:
    mean, deviation = units.mean(axis=0), units.std(axis=0)
    values = (mean[0], deviation[0], mean[1], deviation[1])
    return [number(float(value), ".3g") for value in values]
