"""What a run chooses past its guards, and what is recorded and said of it."""

import logging

import numpy as np

from rayal.cycle import told
from rayal.cycle.guarded import Limits, Walked, predicted, walk_down
from rayal.cycle.offer import Offer
from rayal.cycle.picks import Picks
from rayal.errors import OUT, counted
from rayal.experiment.experiment import Experiment
from rayal.experiment.guards import Guards
from rayal.runs.passes import Pass
from rayal.runs.results import Chosen, Scored
from rayal.selection.candidates import one_each, tie_secret
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids, Places

logger = logging.getLogger(__name__)


def past_guards(
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


def picks_of(past: Walked) -> Picks:
    """As any strategy's."""
    return Picks(past.ids, past.scores, past.spent)


def chosen_past_guards(
    x: Experiment,
    folder: Folder,
    result: Scored,
    past: Walked,
    offer: Offer,
    agreed: dict[str, dict[str, float]],
    out: Folder,
) -> Chosen:
    """What was chosen past guards, and what is to be known of it, also in files: `chosen.csv`, and
    `passed_over.csv` of the first that were passed over for their distance."""
    classes, numbers = offer.store.card.classes, predicted(folder, result, Ids(past.ids))
    named = None if numbers is None else [classes[number] for number in numbers]
    beside = {} if named is None else {"predicted": named}
    if past.distances is not None:
        rows = [(n.unit, n.score, n.distance, n.to, n.of) for n in past.distances.too_near]
        header = ["id", "score", "distance", "nearest", "nearest_is"]
        out.write("passed_over.csv", csv_file.dump(header, rows).encode())
    return Chosen(
        ids=tuple(past.ids),
        table=picks_of(past).write(out, **beside, **told.columns(past.distances)),
        cost=past.spent,
        sold_out=not past.ids and _leaves_nothing(x, result, past),
        agreement=agreed,
        passed_over={cause: number for cause, number in past.passed_over.items() if number},
        short=past.short,
        predicted=told.balance(named),
        distances=told.quantiles(past.distances),
    )


def tell(x: Experiment, cycle: int, budget: float, past: Walked) -> None:
    """Of what guards passed over: a run that buys less than it may does not do so in silence."""
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
