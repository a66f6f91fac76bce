"""The select stage: what the strategy chooses, and what its observers would have chosen."""

from collections.abc import Collection, Mapping

import numpy as np

from rayal.cycle.lots import HoldsPools
from rayal.cycle.offer import Offer
from rayal.cycle.past_guards import chosen_past_guards, past_guards, picks_of, tell
from rayal.cycle.picks import Picks, agreement
from rayal.cycle.pool_selection import PoolSelection
from rayal.cycle.ranking import highest
from rayal.experiment.experiment import Experiment
from rayal.randomness import numpy_generator
from rayal.runs.passes import Pass
from rayal.runs.results import Chosen, Scored
from rayal.selection.candidates import Candidates, tie_secret
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places
from rayal.storage.stage_file import FileLocation


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
        name: past_guards(scored, result, name, rngs[name], budget, x.guards, offer)
        for name, strategy in strategies.items()
        if x.guards.walks and strategy.ranks(offer.one_price)
    }
    cheap = {
        name: rngs[name]
        for name, strategy in strategies.items()
        if name not in walked and offer.one_price and strategy.ranks() and not strategy.relabels
    }
    own = PoolSelection(
        scored, result, offer, trained, out, engine, seed=x.seed, cycle=cycle, budget=budget
    )
    picks = {name: picks_of(each) for name, each in walked.items()}
    picks |= _highest(scored, result, cheap, budget, offer.bought)
    others = {name: each for name, each in strategies.items() if name not in picks}
    picks |= own.picks(others, rngs)
    agreed = agreement(
        {name: set(picks[name].ids) for name in strategies},
        {name for name, strategy in strategies.items() if strategy.divides_images},
    )
    main = next(iter(strategies))
    if (past := walked.get(main)) is not None:
        tell(x, cycle, budget, past)
        return chosen_past_guards(x, scored, result, past, offer, agreed, out)
    chosen = picks[main]
    return Chosen(
        ids=tuple(chosen.ids),
        table=chosen.write(out),
        cost=chosen.cost,
        sold_out=not chosen.ids and _is_sold_out(x, result, own.pools.get(main), offer),
        agreement=agreed,
    )


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


def _is_sold_out(x: Experiment, result: Scored, pool: Candidates | None, offer: Offer) -> bool:
    """Whether nothing is left that a larger budget could buy; `pool` where it had to be loaded."""
    if pool is None:
        return True
    drawn = len(pool.ids) + len(result.bad)
    if x.candidates is not None and drawn >= x.candidates:
        return False  # another cycle draws others
    return not any(True for _ in x.strategy.units(pool.ids, offer.regions))
