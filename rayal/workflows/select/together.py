"""Units that a strategy selects together, by its own `select`: in this process, or on a cluster."""

from dataclasses import replace
from hashlib import sha256

import numpy as np

from rayal.cycle import shard_file
from rayal.cycle.checked import chosen, seen_by
from rayal.cycle.lots import Whole, held
from rayal.cycle.pool_selection import decided, scratch_folder
from rayal.errors import UsageError
from rayal.experiment.compute import Compute
from rayal.selection.candidates import Candidates
from rayal.selection.progress import UNDER_WAY, KeptProgress, Progress
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.workflows.run import start_engine
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.id_file import PerUnit
from rayal.workflows.select.request import Request
from rayal.workflows.select.selection import Selection


def check_divides(r: Request) -> None:
    """Raises UsageError for a strategy whose pool cannot be divided among machines."""
    if r.ranks:
        raise UsageError(
            f"{r.name} ranks units, for which one process reads the scores in a stream, however"
            " many there are; leave out address"
        )
    if not r.strategy.asks_holders():
        raise UsageError(
            f"{r.name} selects in one process, as it is configured; leave out address, or select by"
            " core_set, core_gcn, badge, prob_cover without a file of features, or typiclust with"
            " clustering: exact"
        )


def own_select(
    done: FinishedPass,
    r: Request,
    labeled: Ids,
    costs: PerUnit[np.float64] | None,
    rng: np.random.Generator,
    beside: Folder | None,
) -> Selection:
    """In this process; what the pass kept lies in files in `beside` meanwhile."""
    column = done.column(r.strategy) if r.strategy.ranks() else r.name
    kept, place = r.strategy.kept_names(), scratch_folder(beside)
    pools = shard_file.load(done.folder, done.result, kept, labeled, [column], place)
    return _picked(r, pools[column], labeled, costs, rng)


def held_select(
    done: FinishedPass,
    r: Request,
    labeled: Ids,
    costs: PerUnit[np.float64] | None,
    rng: np.random.Generator,
    address: str,
    beside: tuple[Folder, str] | None,
) -> Selection:
    """On the machines of a cluster; the picks lie in a file in this folder, with this name and a
    suffix, meanwhile."""
    whole = Whole.of(done.folder, done.result, r.strategy, r.name, labeled)
    progress = Progress()
    if beside is not None:
        folder, name = beside
        of = decided(r.strategy, r.seed, r.cycle, r.budget, done.result, labeled)
        prices = b"" if costs is None else costs.values.tobytes()
        progress = KeptProgress(
            folder, name + UNDER_WAY, {**of, "costs": sha256(prices).hexdigest()}
        )
    with (
        start_engine(Compute(), address) as engine,
        held(engine, whole, labeled, progress) as pool,
    ):
        return _picked(r, pool, labeled, costs, rng)


def _picked(
    r: Request,
    pool: Candidates,
    labeled: Ids,
    costs: PerUnit[np.float64] | None,
    rng: np.random.Generator,
) -> Selection:
    pool = seen_by(r.strategy, pool)
    if costs is not None:
        pool = replace(pool, price=costs.of)
    units, cost = chosen(r.strategy, r.strategy.select, r.name, pool, r.budget, rng)
    return Selection(
        units,
        replace(pool, scores=r.strategy.weighed(pool)).scores_of(units),
        [f"{r.name} pick {number}" for number in range(1, len(units) + 1)],
        cost,
        {"labeled": len(labeled)},
    )
