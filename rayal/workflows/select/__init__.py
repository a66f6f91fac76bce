"""What `rayal select` does: units to label next, from the scores of a finished pass.

Exact, whatever the size of the pool: the picks are those of sorting all of it in memory. A strategy
that ranks is streamed; for one with its own `select` what the pass kept lies in files meanwhile, or
on the machines of a cluster.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayal.cycle import shard_file
from rayal.cycle.ranking import keyed, ranked, scored
from rayal.errors import OUT, DataError, UsageError, quoted
from rayal.randomness import numpy_generator
from rayal.selection.candidates import tie_secret
from rayal.selection.distances import Numbers, check_finite
from rayal.selection.progress import UNDER_WAY
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places
from rayal.workflows.select.finished_pass import FinishedPass, score_again
from rayal.workflows.select.id_file import PerUnit, read_costs, read_groups, read_ids
from rayal.workflows.select.request import Request as Request
from rayal.workflows.select.selection import Selection
from rayal.workflows.select.together import check_divides, held_select, own_select
from rayal.workflows.select.walk import FEATURES, Apart, Cap, Walk

PREDICTED = "predicted"
"""Column of the predicted class."""
CLASS_FULL, GROUP_FULL, TOO_NEAR = "class full", "group full", "too near"
"""Why a unit is passed over."""
FEW = 2**16
"""Units that are ranked at first where each has a cost of its own."""


@dataclass(frozen=True)
class Known:
    """What is known of units beside the pass."""

    labeled: Ids
    costs: PerUnit[np.float64] | None
    groups: PerUnit[np.int64] | None

    @classmethod
    def read(cls, request: Request) -> "Known":
        """From the files that the request names. Raises DataError for one of another form."""
        r = request
        return cls(
            labeled=Ids() if r.labeled is None else read_ids(r.labeled),
            costs=None if r.costs is None else read_costs(r.costs),
            groups=None if r.groups is None else read_groups(r.groups),
        )


def select(
    url: str,
    request: Request,
    out: str | None = None,
    known: Known | None = None,
    address: str | None = None,
) -> Selection:
    """The units of the finished pass at `url` that the request asks for.

    Beside `out` large files may lie meanwhile; `known` stands in for the files of the request,
    whose names are for messages then. With the `address` of a Ray cluster its machines hold the
    pool, and every few hundred picks all of them are written to `out`.picks.json: the same call
    goes on from there. Raises UsageError where the pass lacks what the strategy needs, DataError
    where a file does not fit the pass, ClusterError where the machines have too little memory.
    """
    r = request
    if address is not None:
        check_divides(r)
    done = FinishedPass(url)
    column = done.column(r.strategy) if r.strategy.ranks() else r.name
    _check_columns(done, r, column)
    known = known or Known.read(r)
    labeled, costs, groups = known.labeled, known.costs, known.groups
    _check_files(done, r, labeled, costs, groups)
    rng = numpy_generator(r.seed, r.cycle, "select", r.name)
    if r.ranks:
        found = _walked(done, r, column, Places(labeled), costs, groups, rng)
    elif address is None:
        place = None if out is None else _beside(out)[0]
        found = own_select(done, r, labeled, costs, rng, place)
    else:
        kept = None if out is None else _beside(out)
        found = held_select(done, r, labeled, costs, rng, address, kept)
    return replace(found, predicted=_predicted(done, Ids(found.ids)))


def write(selection: Selection, out: str) -> str | None:
    """Writes `out`.csv and `out`.parquet, a path or a URL without its suffix.

    Another selection that is there is kept as `out`-1.csv and `out`-1.parquet, or with the next
    number that is free: somebody may be labeling it. Returns the path of what was kept, without its
    suffix.
    """
    folder, name = _beside(out)
    files = {f"{name}.csv": selection.csv(), f"{name}.parquet": selection.parquet()}
    there = {file: folder.read(file) for file in files if folder.exists(file)}
    kept = None
    if any(files[file] != data for file, data in there.items()):
        kept = _kept(folder, name, there)
    for file, data in files.items():
        folder.write(file, data)
    folder.remove(name + UNDER_WAY)
    return kept and f"{out.removesuffix(name)}{kept}"


def _kept(folder: Folder, name: str, there: Mapping[str, bytes]) -> str:
    """Under which name these files are now, too; one that a killed command has given stays."""
    for number in count(1):
        other = f"{name}-{number}"
        copies = {f"{other}{file.removeprefix(name)}": data for file, data in there.items()}
        before = {file: folder.read(file) for file in copies if folder.exists(file)}
        if all(copies[file] == data for file, data in before.items()):
            for file, data in copies.items():
                folder.write(file, data)
            return other
    raise AssertionError("numbers do not end")


def _beside(out: str) -> tuple[Folder, str]:
    """The folder that `out`, a path or a URL, lies in, and its name there."""
    path = out if "://" in out else os.path.abspath(os.path.expanduser(out))
    folder, _, name = path.rpartition("/")
    return Folder(folder or "/"), name


def _check_columns(done: FinishedPass, r: Request, column: str) -> None:
    there = done.columns()
    kept = [f"keep.{name}" for name in sorted(r.strategy.kept_names())]
    needed = [f"score.{column}"] if r.strategy.ranks() else kept
    needed += [] if r.min_distance is None else [FEATURES]
    needed += [] if r.per_class is None else [PREDICTED]
    if missing := [column for column in needed if column not in there]:
        names = ", ".join(done.result.columns)
        raise UsageError(
            f"{done.folder.url} has no column {', '.join(dict.fromkeys(missing))}, its strategies"
            f" are {names}; " + _way_out(r, missing[0])
        )


def _way_out(r: Request, column: str) -> str:
    own = column.startswith("score.") or column.removeprefix("keep.") in r.strategy.kept_names()
    if own:
        return f"select by one of these, or {score_again(r.strategy)}"
    if column == FEATURES:
        return (
            f"score again, with another {OUT}, with a strategy that keeps features, such as"
            " core_set, beside it"
        )
    return f"score again with this rayal and another {OUT}, or leave out per_class"


def _check_files(
    done: FinishedPass,
    r: Request,
    labeled: Ids,
    costs: PerUnit[np.float64] | None,
    groups: PerUnit[np.int64] | None,
) -> None:
    """Raises DataError where the files and the pass do not know the same units."""
    files = {r.costs: costs, r.groups: groups}
    known = {file: held.places for file, held in files.items() if file and held}
    if not len(labeled) and not known:
        return
    places, found = Places(labeled), np.zeros(len(labeled), bool)
    lacks, first, units = Counter[str](), dict[str, str](), 0
    for every, good in done.ids():
        there = places.of(every)
        found[there[there >= 0]] = True
        units += len(good)
        for file, held in known.items():
            if len(missing := good[~held.has(good)]):
                lacks[file] += len(missing)
                first[file] = min(first.get(file, missing[0]), *missing)
    if not found.all():
        missing = labeled[~found]
        raise DataError(
            f"{r.labeled}: {len(missing)} of {len(labeled)} ids are not in {done.folder.url}, the"
            f" first is {quoted(missing[0])}; give the labeled units of this pool"
        )
    for file, number in lacks.items():
        raise DataError(
            f"{file} lacks {number} of {units} units of {done.folder.url}, the first is"
            f" {quoted(first[file])}; add them"
        )


def _predicted(done: FinishedPass, units: Ids) -> list[str] | None:
    """The class that the model gives each unit, by name where the pass knows it; None where the
    pass did not keep it."""
    if PREDICTED not in done.columns():
        return None
    places, numbers = Places(units), np.full(len(units), -1, np.int64)
    for rows in shard_file.shards(done.folder, done.result, ["id", PREDICTED]):
        at = places.of(Ids(rows["id"]))
        numbers[at[at >= 0]] = rows[PREDICTED].to_numpy()[at >= 0]
    names = done.classes
    return [names[n] if n < len(names) else str(n) for n in numbers.tolist()]


def _walked(
    done: FinishedPass,
    r: Request,
    column: str,
    labeled: Places,
    costs: PerUnit[np.float64] | None,
    groups: PerUnit[np.int64] | None,
    rng: np.random.Generator,
) -> Selection:
    caps = list(_caps(r, groups))
    near = r.min_distance
    apart = None if near is None else Apart(near, [*_features(done, labeled)])
    columns = [PREDICTED] * (r.per_class is not None) + [FEATURES] * (apart is not None)

    def eligible(rows: pa.Table) -> NDArray[np.bool_]:
        open_ = ~labeled.has(Ids(rows["id"]))
        for cap in caps:
            open_ &= cap.open(rows)
        return open_

    price = costs.of if costs else _one
    cheapest = costs.values.min(initial=np.inf) if costs else 1.0
    walk, secret = Walk(r.budget, price, cheapest, caps, apart), tie_secret(rng)
    # one more than can be bought, to see a tie; a budget of clicks says little about units
    first = int(min(r.budget, FEW if costs else np.inf)) + 1
    walk.down(ranked(done.folder, done.result, column, secret, first, columns, eligible))
    reason = f"highest score by {column}"  # of margin, for example, the smallest
    tied = walk.scores[-1] if walk.tie else None
    over = _passed_over(done, r, column, walk, caps, labeled, secret)
    return Selection(
        walk.ids,
        walk.scores,
        [f"{reason}; tie broken by seed" if s == tied else reason for s in walk.scores],
        walk.spent,
        {"labeled": len(labeled.ids)} | over,
        short=_short(r, over) if walk.short else "",
    )


def _short(r: Request, over: Mapping[str, int]) -> str:
    """Why fewer units than the budget buys: `2 of 8: the others are of a class that has its 2`."""
    limits = {
        CLASS_FULL: f"of a class that has its {r.per_class}",
        GROUP_FULL: f"of a group that has its {r.per_group}",
        TOO_NEAR: f"nearer than {r.min_distance} to one of these or of the labeled",
    }
    found = " or ".join(limits[cause] for cause, number in over.items() if number)
    return f"of {r.budget:g}: " + (f"the others are {found}" if found else "there are no others")


def _one(ids: Ids) -> NDArray[np.float64]:
    return np.ones(len(ids))


def _caps(r: Request, groups: PerUnit[np.int64] | None) -> Iterator[Cap]:
    if r.per_class is not None:
        yield Cap(CLASS_FULL, r.per_class, lambda rows: rows[PREDICTED].to_numpy())
    if groups is not None and r.per_group is not None:
        yield Cap(GROUP_FULL, r.per_group, lambda rows: groups.of(Ids(rows["id"])))


def _features(done: FinishedPass, labeled: Places) -> Iterator[Numbers]:
    """What the pass kept of labeled units, shard by shard."""
    if not len(labeled.ids):
        return
    for rows in shard_file.shards(done.folder, done.result, ["id", FEATURES]):
        seen = rows.filter(pa.array(labeled.has(Ids(rows["id"]))))
        if seen.num_rows:
            features = shard_file.matrix(seen[FEATURES])
            check_finite(Ids(seen["id"]), features, "features")
            yield features


def _passed_over(
    done: FinishedPass,
    r: Request,
    column: str,
    walk: Walk,
    caps: Sequence[Cap],
    labeled: Places,
    secret: int,
) -> dict[str, int]:
    """How many units rank before the last one taken and were not taken, by the first cause that
    stands in their way in the end; where the budget was not spent, how many of all."""
    causes = {cap.cause: 0 for cap in caps}
    if r.min_distance is not None:
        causes[TOO_NEAR] = 0
    last = None if walk.short else walk.last
    if not causes or (last is None and not walk.short):
        return causes
    taken, columns = Places(Ids(walk.ids)), [PREDICTED] * (r.per_class is not None)
    for shard in shard_file.shards(done.folder, done.result, ["id", f"score.{column}", *columns]):
        rows = scored(done.folder, shard, column, columns)
        if last is not None:
            rows = rows.filter(pc.greater_equal(rows["score"], last.score))
        ids = Ids(rows["id"])
        rows = rows.filter(pa.array(~(labeled.has(ids) | taken.has(ids))))
        if last is not None:
            rows = keyed(rows, secret)
            rows = rows.filter(pa.array(~last.before(rows)))
        for cap in caps:
            open_ = cap.open(rows)
            causes[cap.cause] += int((~open_).sum())
            rows = rows.filter(pa.array(open_))
        if rows.num_rows:  # only distance is left
            causes[TOO_NEAR] += rows.num_rows
    return causes
