"""The units that a strategy chooses before the first training: one pass over the candidates with
the model as it is then, and a selection without a labeled unit.

All strategies of a seed begin with the same ones: nothing here knows which of them comes after.
"""

from rayal.cycle.candidates import candidates
from rayal.cycle.engine import Engine
from rayal.cycle.offer import Offer
from rayal.cycle.score import ScoreJob, ShardTask, divide, pass_rows
from rayal.cycle.scoring_pass import Count, scored
from rayal.cycle.select import choose
from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import OUT, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.architectures.linear_head import LinearHead
from rayal.models.build import build
from rayal.models.trained_model import TrainedModel
from rayal.randomness import derive
from rayal.runs.results import FirstChosen
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation

CYCLE = -1
"""In random numbers, and wherever the cycle of a purchase is told: that of the first units."""
UNTRAINED = "untrained.safetensors"


def as_strategy(x: Experiment, card: Card) -> Experiment:
    """The same experiment, as if what chooses the first units chose in a cycle: alone, by images as
    they are, and past no limits, as there is no model yet that could predict a class.

    Of vectors the vectors are the features, whatever head is trained on them.
    """
    limits = {"min_distance": None, "per_class": None}
    changes = {
        "strategy": x.first,
        "observers": (),
        "score_transform": "test",
        "guards": x.guards.model_copy(update=limits),
        "model": x.model if card.image.sides else LinearHead(),
    }
    return x.model_copy(update=changes)


def untrained(y: Experiment, store: Store, out: Folder) -> FileLocation:
    """The weights that the first training of member 0 begins with, in a file."""
    seed, classes = derive(y.seed, 0, "init"), len(store.card.classes)
    network = build(y.model, classes, store.card.image, seed, headless=True)
    model = TrainedModel.of(y.card_for(store.card), network)
    return FileLocation(out.url, model.write(out, UNTRAINED))


def first_tasks(x: Experiment, store: Store) -> list[ShardTask]:
    """What the pass looks at."""
    units = candidates(x, store, (), CYCLE)
    return divide(store.pool, units, pass_rows(x.compute, store.card))


def choose_first(
    x: Experiment, store: Store, engine: Engine, count: Count, out: Folder
) -> FirstChosen:
    """The units of budget.initial that `x.first` chooses; what an earlier attempt left in `out`, of
    the pass and of a long selection, is not done again.

    Raises UsageError where the budget does not buy a single one.
    """
    y, budget = as_strategy(x, store.card), x.budget.amounts.initial
    weights = untrained(y, store, out)
    job = ScoreJob.of(y, store, CYCLE, weights, out.url)
    result = scored(job, first_tasks(x, store), engine, x.max_bad, len(store.card.bad), count)
    offer, trained = Offer(y, store, ()), {"weights": weights}
    chosen = choose(y, CYCLE, budget, out, result, offer, trained, out, engine)
    if not chosen.ids and result.units > len(result.bad):
        raise UsageError(
            f"budget.initial: {budget} {x.budget.unit} do not buy the first image that"
            f" {x.first.part_name()} chooses; set it higher, and use another {OUT}"
        )
    out.remove(UNTRAINED)  # it comes of the seed
    return FirstChosen(**dict(chosen), shards=result.shards)
