"""The select stage: what the strategy chooses, and what its observers would have chosen."""

import logging
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import numpy as np

from rayal.cycle import checked, told
from rayal.cycle import shard_file as scores
from rayal.cycle.checked import seen_by
from rayal.cycle.guarded import Limits, Walked, predicted, walk_down
from rayal.cycle.lots import HoldsPools, Whole, held
from rayal.cycle.offer import Offer
from rayal.cycle.ranking import highest
from rayal.errors import OUT, counted
from rayal.experiment.experiment import Experiment
from rayal.experiment.guards import Guards
from rayal.randomness import numpy_generator
from rayal.runs.passes import Pass
from rayal.runs.results import Chosen, Scored
from rayal.selection.candidates import Candidates, one_each, ranking, tie_secret
from rayal.selection.progress import UNDER_WAY, KeptProgress
from rayal.storage import csv_file
from rayal.storage.folder import FileRecord, Folder, Json
from rayal.storage.ids import Ids, Places
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Select, Strategy

logger = logging.getLogger(__name__)


def choose(
    x: Experiment,
    cycle: int,
    budget: float,
    scored: Folder,
    result: Scored,
    offer: Offer,
    trained: Mapping[str, FileLocation],
    out: Folder,
    engine: HoldsPools | None = None,
) -> Chosen:
    """The ids to label next, best first, whether there was nothing left to choose from, and how far
    any two strategies agree.

    `scored` and `result` are the folder and the result of the scoring pass, which may have passed
    over labeled units too; `offer` says what those are, and what the others cost; `trained` are
    the files of the model that it asked. Also writes `chosen.csv` (rank, id, score) for people.
    Machines of the `engine`, if there is one, hold what is too large for this process, where they
    have room for it; what they picked stays in `out`, for whoever is killed before the stage is
    recorded, until `forget_under_way`.
    """
    strategies = x.scored()
    # its own ties and draws: one order for all would make strategies agree by the dice
    rngs = {
        name: numpy_generator(x.seed, cycle, "select", strategy.part_name())
        for name, strategy in strategies.items()
    }
    walked = {
        name: _past_guards(scored, result, name, rngs[name], budget, x.guards, offer)
        for name, strategy in strategies.items()
        if x.guards.walks and strategy.ranks(offer.one_price)
    }
    cheap = {
        name: rngs[name]
        for name, strategy in strategies.items()
        if name not in walked and offer.one_price and strategy.ranks() and not strategy.relabels
    }
    picks = _highest(scored, result, cheap, budget, offer.bought)
    picks |= {name: Picks(each.ids, each.scores, each.spent) for name, each in walked.items()}
    others = {name: each for name, each in strategies.items() if name not in picks}
    large = _too_large(scored, result, others, offer, engine)

    def loaded(strategies: Mapping[str, Strategy]) -> dict[str, Candidates]:
        found: dict[str, Candidates] = {}
        for together in _alike(strategies):
            kept = {kept for each in together.values() for kept in each.kept_names()}
            closed = offer.closed(next(iter(together.values())))
            found |= scores.load(scored, result, kept, closed, together, scratch_folder(out))
        return found

    small = {name: each for name, each in others.items() if name not in large}
    pools = loaded(small) if small else {}
    under_way = {
        name: KeptProgress(
            out,
            f"{name}{UNDER_WAY}",
            decided(others[name], x.seed, cycle, budget, result, offer.closed(others[name])),
        )
        for name in large
    }
    for name, strategy in others.items():
        if name in large and (left := under_way[name].state.get("chosen")):
            picks[name] = Picks(**left)
            continue
        with ExitStack() as until_picked:
            if name in large and engine is not None and engine.has_room(large[name]):
                opened = held(engine, large[name], offer.closed(strategy), under_way[name])
                pools[name] = until_picked.enter_context(opened)
            elif name in large:
                pools |= loaded({name: strategy})
            pool = offer.offered(strategy, seen_by(strategy, pools[name]))
            select = strategy.selector(trained)
            picks[name] = _of_one(strategy, select, name, pool, offer, budget, rngs[name])
        if name in large and picks[name].ids:
            under_way[name].keep(chosen=picks[name]._asdict())  # the others may take hours
    main = next(iter(strategies))
    chosen = picks[main]
    agreed = agreement(
        {name: set(picks[name].ids) for name in strategies},
        {name for name, strategy in strategies.items() if strategy.divides_images},
    )
    if (past := walked.get(main)) is not None:
        _tell(x, cycle, budget, past)
        return _with_guards(x, scored, result, past, offer, agreed, out)
    scores_of = [None] * len(chosen.ids) if chosen.scores is None else chosen.scores
    return Chosen(
        ids=tuple(chosen.ids),
        table=_written(out, chosen.ids, scores_of),
        cost=chosen.cost,
        sold_out=not chosen.ids and _is_sold_out(x, result, pools.get(main), offer),
        agreement=agreed,
    )


def _past_guards(
    folder: Folder,
    result: Pass,
    name: str,
    rng: np.random.Generator,
    budget: float,
    guards: Guards,
    offer: Offer,
) -> Walked:
    """What a strategy that ranks chooses past the guards of the run."""
    limits = Limits(per_class=guards.per_class, min_distance=guards.min_distance)
    labeled, price = Places(Ids(offer.bought)), one_each if offer.one_price else offer.costs
    return walk_down(
        *(folder, result, name, tie_secret(rng), budget, labeled, limits),
        price=price,
        cheapest=float(offer.one_price),
        overshoot=offer.overshoot,
    )


def _with_guards(
    x: Experiment,
    folder: Folder,
    result: Scored,
    past: Walked,
    offer: Offer,
    agreed: dict[str, dict[str, float]],
    out: Folder,
) -> Chosen:
    """What was chosen past guards, and what is to be known of it; what was passed over for its
    distance is in `passed_over.csv` as well, the first of it."""
    classes, numbers = offer.store.card.classes, predicted(folder, result, Ids(past.ids))
    named = None if numbers is None else [classes[number] for number in numbers]
    beside = {} if named is None else {"predicted": named}
    if past.distances is not None:
        rows = [(n.unit, n.score, n.distance, n.to, n.of) for n in past.distances.too_near]
        header = ["id", "score", "distance", "nearest", "nearest_is"]
        out.write("passed_over.csv", csv_file.dump(header, rows).encode())
    return Chosen(
        ids=tuple(past.ids),
        table=_written(out, past.ids, past.scores, **beside, **told.columns(past.distances)),
        cost=past.spent,
        sold_out=not past.ids and _leaves_nothing(x, result, past),
        agreement=agreed,
        passed_over={cause: number for cause, number in past.passed_over.items() if number},
        short=past.short,
        predicted=told.balance(named),
        distances=told.quantiles(past.distances),
    )


def _tell(x: Experiment, cycle: int, budget: float, past: Walked) -> None:
    """Of what guards passed over; a run that buys less than it may does not do so in silence."""
    over = told.over(past.passed_over)
    if not past.short:
        if over:
            logger.info("cycle %d select: passed over %s", cycle, over)
        return
    logger.warning(
        "cycle %d select: %s for %g %s: %s%s",
        *(cycle, counted(len(past.ids), "unit"), budget, x.budget.unit, past.short),
        "" if past.ids else f"; for more labels use looser guards, and another {OUT}",
    )


def _leaves_nothing(x: Experiment, result: Scored, past: Walked) -> bool:
    """Whether guards have passed over all that there is, so that no budget buys any of it."""
    drawn = sum(past.passed_over.values()) + len(result.bad)
    return bool(past.short) and (x.candidates is None or drawn < x.candidates)


def _written(
    out: Folder, ids: Sequence[str], scores: Sequence[float | None], **beside: Sequence[object]
) -> FileRecord:
    """`chosen.csv`, for people."""
    columns = {"rank": range(1, len(ids) + 1), "id": ids, "score": scores, **beside}
    rows = zip(*columns.values(), strict=True)
    return out.write("chosen.csv", csv_file.dump([*columns], rows).encode())


def _alike(strategies: Mapping[str, Strategy]) -> Iterator[dict[str, Strategy]]:
    """In groups that each read the rows of one embedding at most: a pool has one of each signal;
    and that have the same candidates."""
    kinds = {name: (type(each.embeds()), each.relabels) for name, each in strategies.items()}
    for kind in dict.fromkeys(kinds.values()):
        yield {name: each for name, each in strategies.items() if kinds[name] == kind}


def forget_under_way(out: Folder) -> None:
    """Removes the picks that a select stage kept, which is recorded now."""
    out.remove_all([name for name in out.names() if name.endswith(UNDER_WAY)])


def _too_large(
    folder: Folder,
    result: Pass,
    strategies: Mapping[str, Strategy],
    offer: Offer,
    engine: HoldsPools | None,
) -> dict[str, Whole]:
    """By name the strategies whose pools are for machines of the engine."""
    if engine is None or not engine.holds(sys.maxsize):
        return {}
    wholes = {
        name: Whole.of(folder, result, strategy, name, offer.closed(strategy))
        for name, strategy in strategies.items()
        if strategy.asks_holders()
    }
    return {name: each for name, each in wholes.items() if engine.holds(each.bytes)}


def decided(
    strategy: Strategy,
    seed: int,
    cycle: int,
    budget: float,
    result: Pass,
    labeled: Collection[str],
) -> Json:
    """All that decides the picks of a strategy from a pass, but for prices."""
    files = "".join(file.sha256 for file in result.shards)
    known = "\n".join(sorted(labeled))
    return {
        "strategy": strategy.model_dump(mode="json"),
        "seed": seed,
        "cycle": cycle,
        "budget": budget,
        "pass": sha256(files.encode()).hexdigest(),
        "labeled": sha256(known.encode()).hexdigest(),
    }


def _is_sold_out(x: Experiment, result: Scored, pool: Candidates | None, offer: Offer) -> bool:
    """Whether nothing is left that a larger budget could buy; `pool` where it had to be loaded."""
    if pool is None:
        return True
    drawn = len(pool.ids) + len(result.bad)
    if x.candidates is not None and drawn >= x.candidates:
        return False  # another cycle draws others
    return not any(True for _ in x.strategy.units(pool.ids, offer.regions))


class Picks(NamedTuple):
    """What one strategy chose, best first."""

    ids: list[str]
    scores: list[float] | None
    cost: float


def _highest(
    folder: Folder,
    result: Pass,
    rngs: Mapping[str, np.random.Generator],
    budget: float,
    labeled: Collection[str],
) -> dict[str, Picks]:
    """The picks of the strategies that rank, where every unit costs 1."""
    known = Places(Ids(labeled))
    secrets = {name: tie_secret(rng) for name, rng in rngs.items()}
    tops = highest(folder, result, secrets, int(budget), lambda rows: ~known.has(Ids(rows["id"])))
    return {
        name: Picks(top["id"].to_pylist(), top["score"].to_pylist(), float(top.num_rows))
        for name, top in tops.items()
    }


def _of_one(
    strategy: Strategy,
    select: Select,
    name: str,
    pool: Candidates,
    offer: Offer,
    budget: float,
    rng: np.random.Generator,
) -> Picks:
    """What a strategy chooses that does not only rank, or where units differ in cost."""
    if strategy.ranks(offer.one_price) and pool.scores is not None:
        order = ranking(pool.ids, pool.scores, rng)
        count, cost = offer.affordable(pool.ids[order], budget)
        units = list(pool.ids[order[:count]])
    else:
        units, cost = checked.chosen(strategy, select, name, pool, budget, rng)
    return Picks(units, replace(pool, scores=strategy.weighed(pool)).scores_of(units), cost)


def scratch_folder(out: Folder | None) -> Path:
    """Where large files may lie: `out`, where there is most likely space, or where the system has
    such files, if that is not a local folder."""
    if out is None or out.local is None:
        return Path(gettempdir())
    out.make()
    return out.local


def agreement(
    picks: Mapping[str, set[str]], by_region: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """For every two strategies the units that both chose, over those of the smaller choice: 0 to 1.

    Under the name that comes first in `picks`; strategies that chose regions, `by_region`, are not
    compared with those that chose images.
    """
    names = list(picks)
    return {
        name: {
            other: len(picks[name] & picks[other])
            / max(1, min(len(picks[name]), len(picks[other])))
            for other in names[place + 1 :]
            if (name in by_region) == (other in by_region)
        }
        for place, name in enumerate(names[:-1])
    }
