"""What a finished pass has for a strategy that it was not made for, and the pass of that strategy
alone, made of it.

A score counts where the same strategy gave it, as the one that chose or as an observer. Kept
numbers are those of the pass, as float16; no score is made of them, which would rank otherwise than
one of float32.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from rayal.cycle import shard_file
from rayal.cycle.columns import Columns
from rayal.cycle.guarded import PREDICTED
from rayal.cycle.referred import FEATURES
from rayal.experiment.experiment import Experiment
from rayal.models.companions.base import Spec
from rayal.runs.results import Scored
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.signals.signal import kept_name, required
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places
from rayal.strategies.base import Strategy

LISTED = 100_000
"""Units of a shard where none has to be as the pass divided them."""
BATCH = 4096
"""Units at a time of a strategy that asks no network."""


class KeptPass(NamedTuple):
    """A finished pass, and whose it is."""

    x: Experiment
    folder: Folder
    result: Scored


def column_of(x: Experiment, strategy: Strategy) -> str | None:
    """The column that this very strategy has in a pass of `x`; None where it has none."""
    asked = strategy.model_dump(mode="json")
    columns = x.scored().items()
    return next((name for name, each in columns if each.model_dump(mode="json") == asked), None)


def asks_nothing(strategy: Strategy) -> bool:
    """Whether its score is made of ids, seed and cycle alone, if it gives one."""
    return not required(strategy.needs)


def lacks(x: Experiment, y: Experiment) -> list[str]:
    """What a pass of `x` does not have that the strategy of `y` selects from, in words."""
    strategy, lacking = y.strategy, list[str]()
    if column_of(x, strategy) is None and not asks_nothing(strategy):
        lacking.append(f"the score of {strategy.part_name()}")
    there = {name for each in x.scored().values() for name in each.kept_names()}
    there |= {"features"} if x.keeps_features() else set()
    absent = {name for name in strategy.kept_names() if name not in there}
    if (embeds := strategy.embeds()) is not None:  # another of this name makes other numbers
        specs: list[Spec] = [*x.companions(), *x.fits()]
        absent |= set() if embeds in specs else {kept_name("embedding", embeds.name)}
    if absent:
        lacking.append(
            " and ".join(name.replace("embedding.", "the embedding of ") for name in sorted(absent))
        )
    elif y.scans_labeled() and not x.scans_labeled():
        lacking.append(f"{' and '.join(sorted(strategy.kept_names()))} of labeled units")
    return lacking


def narrowed(
    kept: KeptPass, y: Experiment, cycle: int, bought: Collection[str], out: Folder
) -> Scored:
    """The pass that the strategy of `y` alone would have made, in the folder `out`, from one that
    `lacks` nothing of it. `bought`: units that were before this cycle."""
    names = _columns(kept.x, y)
    known = Places(Ids(() if y.scans_labeled() else bought))
    tables = (
        (
            record.name,
            shard_file.read_shard(kept.folder, record.name, ["id", "status", *names], record),
        )
        for record in kept.result.shards
    )
    open_ = ((name, rows.filter(pa.array(~known.has(Ids(rows["id"]))))) for name, rows in tables)
    return _written(open_, names, y, cycle, out, kept.result.bad)


def listed(
    units: Iterable[str], bad: Mapping[str, str], y: Experiment, cycle: int, out: Folder
) -> Scored:
    """As `narrowed`, of a strategy that asks nothing, where nothing is left of the pass but which
    images were `bad`."""
    ids = [*units]

    def tables() -> Iterator[tuple[str, pa.Table]]:
        for number, start in enumerate(range(0, len(ids), LISTED)):
            some = ids[start : start + LISTED]
            status = [bad.get(unit, shard_file.OK) for unit in some]
            yield f"shard-{number:05d}.parquet", pa.table({"id": some, "status": status})

    return _written(tables(), {}, y, cycle, out, bad)


def _columns(x: Experiment, y: Experiment) -> dict[str, str]:
    """Column of a pass of `x` -> that of the strategy of `y` alone."""
    names = {f"keep.{name}": f"keep.{name}" for name in sorted(y.strategy.kept_names())}
    if (column := column_of(x, y.strategy)) is not None:
        names[f"score.{column}"] = f"score.{y.strategy.part_name()}"
    if y.keeps_features():
        names[FEATURES] = FEATURES
    if y.keeps_predicted():
        names[PREDICTED] = PREDICTED
    return names


def _written(
    tables: Iterable[tuple[str, pa.Table]],
    names: Mapping[str, str],
    y: Experiment,
    cycle: int,
    out: Folder,
    bad: Mapping[str, str],
) -> Scored:
    shards, units, found = [], 0, set[str]()
    for name, rows in tables:
        if not rows.num_rows:
            continue  # a pass has no shard of nothing
        fits = pc.equal(rows["status"], shard_file.OK)
        good, failed = rows.filter(fits), rows.filter(pc.invert(fits))
        ids: list[str] = good["id"].to_pylist()
        there = {old: new for old, new in names.items() if old in good.schema.names}
        columns = {new: _values(good[old]) for old, new in there.items()} if ids else {}
        if not any(new.startswith("score.") for new in columns):
            columns |= _unasked(y, cycle, ids)
        reasons = dict(zip(failed["id"].to_pylist(), failed["status"].to_pylist(), strict=True))
        shards.append(out.write(name, shard_file.encode(ids, columns, reasons)))
        units, found = units + rows.num_rows, found | reasons.keys()
    return Scored(
        units=units,
        columns=(y.strategy.part_name(),),
        options={y.strategy.part_name(): y.strategy.model_dump(mode="json")},
        shards=tuple(shards),
        bad={unit: reason for unit, reason in bad.items() if unit in found},
    )


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        return shard_file.matrix(column)
    values: NDArray[Any] = column.to_numpy()
    return values


def _unasked(y: Experiment, cycle: int, ids: list[str]) -> dict[str, NDArray[Any]]:
    """The score of a strategy that asks no network, if it gives one."""
    if not (ids and asks_nothing(y.strategy)):
        return {}
    networks = Networks(nn.Identity().eval(), seed=y.seed, cycle=cycle)

    def signals(rows: slice, fill: int) -> Signals:
        some = ids[rows] + ids[-1:] * fill
        return Signals(some, torch.empty(len(some), 0), networks)

    columns = Columns(y.scored(), y.task, cycle, min(BATCH, len(ids)), keeps=False)
    return columns.of(ids, signals)
