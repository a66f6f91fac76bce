"""What of a run is possible, and worth a second look before anything starts."""

from collections.abc import Iterator

from rayal.data.card import Card
from rayal.data.copies import COPIES
from rayal.data.tasks.base import untested_note
from rayal.errors import counted
from rayal.experiment.experiment import Experiment
from rayal.labeling.oracles.people import People
from rayal.training.stopping_rule import LEAST_HELD_OUT


def warnings(x: Experiment, card: Card, store: str = "") -> Iterator[str]:
    """What is possible, and worth a second look; `store`: the URL of the prepared dataset."""
    if not x.budget.is_open:
        yield from _of_amounts(x, card)
    if x.start == "cold" and (names := _looking_back(x)):
        yield f"start: after a cold start {names} measures mostly the new weights; use warm"
    if x.ensemble > 1 and not _asks_ensemble(x):
        yield f"ensemble: {x.ensemble} models are trained and no strategy asks more than one; use 1"
    if (names := _asking_again(x)) and not x.oracle.answers_again():
        yield (
            f"oracle: {x.oracle.part_name()} answers once, so that {names} can ask for new images"
            " alone; use recorded or people"
        )
    if x.explore and x.draws_at_random:
        yield (
            f"explore: {x.explore:g}, and strategy {x.strategy.part_name()!r} draws all units at"
            " random anyway: without it all of them measure the models; set it to 0"
        )
    if waits := _waiting_for_another(x, card):
        yield waits
    if not card.labeled:
        yield "dataset: nobody knows how many images of each class are in the pool"
    if not card.tested:
        yield f"dataset: {untested_note(x.headline)}"
    if card.bad:
        yield f"dataset: {counted(len(card.bad), 'image')} cannot be decoded and will not be used"
    yield from _of_copies(
        x, card, f" (listed in {store}/{COPIES})" if store and COPIES in card.files else ""
    )


def _of_copies(x: Experiment, card: Card, where: str) -> Iterator[str]:
    """Images that are there more than once."""
    if across := card.duplicates.get("across", 0):
        told = counted(across, "test image is", "test images are") + " also in the pool"
        kept = x.guards.test_images == "keep"
        then = "; guards.test_images: leave_out never buys these" if kept else ", and never bought"
        yield f"dataset: {told}{then}{where}"
    if again := card.duplicates.get("pool", 0):
        told = counted(again, "image of the pool has", "images of the pool have")
        told += " the content of an earlier one"
        kept = x.guards.same_images == "keep"
        then = "; guards.same_images: leave_out buys one of each" if kept else ", and not bought"
        yield f"dataset: {told}{then}{where}"


def _of_amounts(x: Experiment, card: Card) -> Iterator[str]:
    initial, per_cycle, total = x.budget.amounts
    even = x.budget.unit == "samples"
    if even and x.strategy.buys_fewer():
        yield (
            f"strategy: {x.strategy.part_name()!r} as it is set may buy fewer than {per_cycle}"
            " units in a cycle, so that more cycles than planned spend the budget"
        )
    elif even and (rest := (total - initial) % per_cycle):
        left = counted(rest, "that is", "that are")
        yield f"budget: the last cycle buys the {left} left, not {per_cycle}"
    stopping = x.scheme.early_stopping
    if even and stopping and not x.labeled and initial * stopping.share < LEAST_HELD_OUT:
        yield (
            f"scheme.early_stopping: {counted(initial, 'label')} are too few to hold"
            f" {stopping.share:.0%} of them out; such trainings take their whole length"
        )
    if even and initial < len(card.classes) and not x.task.dense and not x.labeled:
        yield (
            f"budget.initial: {counted(initial, 'label')} cannot show all {len(card.classes)}"
            " classes"
        )


def _asks_ensemble(x: Experiment) -> bool:
    return any("ensemble" in strategy.requires() for strategy in x.scored().values())


def _asking_again(x: Experiment) -> str:
    return ", ".join(name for name, strategy in x.scored().items() if strategy.relabels)


def _waiting_for_another(x: Experiment, card: Card) -> str:
    """What may never end where one person answers, who is asked again; empty where all does."""
    asked = x.oracle if x.strategy.relabels and isinstance(x.oracle, People) else None
    if asked is None or asked.disputed != "ask" or card.masks is not None:
        return ""
    differ = f"oracle.disputed: ask, and where {x.strategy.part_name()} asks again and the answer"
    if asked.consensus == "unanimous":
        return f"{differ} differs, no more of them make a label; set it to refuse or first"
    return (
        f"{differ} differs, the run waits for another annotator; if there is one alone, set it to"
        " first (or refuse)"
    )


def _looking_back(x: Experiment) -> str:
    strategies = x.scored().items()
    return ", ".join(name for name, s in strategies if s.reference(1) == "previous")
