"""What a run does beside its cycles, in words."""

from collections.abc import Iterator, Sequence

from torch import nn

from rayal.cycle.candidates import left_out
from rayal.data.card import Card
from rayal.data.store import Store
from rayal.errors import counted
from rayal.experiment.experiment import Experiment
from rayal.experiment.explore import share
from rayal.models.network import feature_width
from rayal.report.amounts import duration
from rayal.workflows.plan.cycles import Cycle
from rayal.workflows.plan.lines import spent
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.times import first_seconds, looked_at


def chooses(x: Experiment, cycles: Sequence[Cycle]) -> str:
    """Which strategy chooses, from what, and what is bought in the end."""
    if len(cycles) == 1:
        return ""
    offered = "all that is not labeled" if x.candidates is None else f"{x.candidates:,} at random"
    in_all = spent(x.budget.amounts.total, x.budget.unit)
    return f"{x.strategy.part_name()}, from {offered} in each cycle; {in_all} in the end"


def guards(x: Experiment, store: Store, network: nn.Module) -> Iterator[str]:
    """What guards do to a run, and what they cost beside it."""
    guards = x.guards
    if guards.leaves_out:
        yield f"{counted(never_bought(x, store), 'image is', 'images are')} never bought"
    if guards.walks:
        limits = {"min_distance": guards.min_distance, "per_class": guards.per_class}
        told = " and ".join(f"{name} {n:g}" for name, n in limits.items() if n is not None)
        yield (
            f"{told} may buy less in a cycle than this table has; one that buys nothing ends the"
            " run"
        )
    if x.keeps_features():
        numbers = feature_width(network)
        yield (
            f"the pass keeps features, {counted(numbers, 'number')} of each candidate, and goes"
            " through labeled images too"
        )


def explore(x: Experiment, cycles: Sequence[Cycle]) -> str:
    """How much of purchases is drawn at random."""
    drawn = [share(x.explore, each.bought) for each in cycles]
    if not any(drawn):
        return ""
    first = f"{drawn[0]} of {counted(cycles[0].bought, 'unit')}"
    return (
        f"{first} of a cycle drawn at random, {sum(drawn):,} in all, to estimate {x.task.headline}"
    )


def first(x: Experiment, card: Card, cycles: tuple[Cycle, ...], probe: Probe | None) -> str:
    """What is looked at before the first training, if anything, and how long that takes."""
    if not x.chooses_first:
        return ""
    seen = counted(looked_at(x, card), "candidate")
    told = f"{x.first.part_name()} chooses {cycles[0].labels:,} of {seen}, before any training"
    if probe is None:
        return told
    return f"{told}: {duration(first_seconds(x, card, probe))} on this machine"


def never_bought(x: Experiment, store: Store) -> int:
    """How many images guards keep from being bought."""
    return len(left_out(x, store) - store.card.bad.keys()) if x.guards.leaves_out else 0
