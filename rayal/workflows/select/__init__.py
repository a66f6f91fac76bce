"""What `rayal select` does: units to label next, from the scores of a finished pass.

Exact, whatever the size of the pool: the picks are those of sorting all of it in memory. A strategy
that ranks is streamed; for one with its own `select` what the pass kept lies in files meanwhile, or
on the machines of a cluster.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from rayal.cycle.guarded import PREDICTED, Limits, predicted, walk_down
from rayal.cycle.referred import FEATURES
from rayal.errors import OUT, DataError, UsageError, quoted
from rayal.randomness import numpy_generator
from rayal.selection.candidates import one_each, tie_secret
from rayal.selection.progress import UNDER_WAY
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places
from rayal.workflows.select.finished_pass import FinishedPass, score_again
from rayal.workflows.select.id_file import PerUnit, read_costs, read_groups, read_ids
from rayal.workflows.select.request import Request as Request
from rayal.workflows.select.selection import Selection
from rayal.workflows.select.together import check_divides, held_select, own_select


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
    if (
        PREDICTED not in done.columns()
        or (numbers := predicted(done.folder, done.result, units)) is None
    ):
        return None
    names = done.classes
    return [names[n] if n < len(names) else str(n) for n in numbers]


def _walked(
    done: FinishedPass,
    r: Request,
    column: str,
    labeled: Places,
    costs: PerUnit[np.float64] | None,
    groups: PerUnit[np.int64] | None,
    rng: np.random.Generator,
) -> Selection:
    found = walk_down(
        done.folder,
        done.result,
        column,
        tie_secret(rng),
        r.budget,
        labeled,
        Limits(r.per_class, groups.of if groups else None, r.per_group, r.min_distance),
        costs.of if costs else one_each,
        costs.values.min(initial=np.inf) if costs else 1.0,
    )
    reason = f"highest score by {column}"  # of margin, for example, the smallest
    return Selection(
        found.ids,
        found.scores,
        [f"{reason}; tie broken by seed" if s == found.tied else reason for s in found.scores],
        found.spent,
        {"labeled": len(labeled.ids)} | found.passed_over,
        short=found.short and f"of {r.budget:g}: {found.short}",
        distances=found.distances,
    )
