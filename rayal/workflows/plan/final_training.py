"""What the training after the last cycle will do and what it costs."""

from typing import NamedTuple

from rayal.cycle.fine_tune import FineTuning
from rayal.report.amounts import duration, size
from rayal.training.feed import batch_ends
from rayal.workflows.plan.cycles import Cycle, updates
from rayal.workflows.plan.lines import size_lines
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.sizes import memory, network_files, network_of

FILES = 5
"""Of the stage: when it began, its result, epochs, weights, and that these are whole."""


class TunePlan(NamedTuple):
    """One training of a whole network."""

    model: str
    labels: int
    steps: int
    """Updates of its weights."""
    evaluated: int
    """Test images."""
    seconds: float | None
    """On this machine; None where nothing was timed."""
    disk: int
    """Bytes that stay, of its weights."""
    checkpoints: int
    """Bytes while it is trained."""
    memory: dict[str, int]
    """What a training worker holds -> bytes."""

    def lines(self, training: str) -> list[str]:
        """For people; `training` says how it is trained."""
        time = "" if self.seconds is None else f", {duration(self.seconds)} on this machine"
        _, memory = size_lines({}, self.memory)
        return [
            f"end     {self.model} is trained once on {self.labels:,} labels, {self.steps:,} steps:"
            f" {training}{time}",
            f"        {size(self.disk)} on disk; {' '.join(memory.split())}",
        ]


def plan_tuning(tuning: FineTuning, last: Cycle, timed: Probe | None, start: float) -> TunePlan:
    """What comes after this last cycle; `start`: seconds until its workers work."""
    x, card = tuning.experiment, tuning.store.card
    network = network_of(x, card)
    ends = batch_ends(last.labels, x.scheme.batch_size, x.compute.train_workers)
    steps = updates(x.scheme, last.cycle, len(ends), card.pool - last.labels)
    seconds = None
    if timed is not None:
        batch = min(last.labels, x.scheme.batch_size)
        seconds = start + steps * timed.step(batch) + card.test * timed.evaluate
    kept, checkpoints = network_files(x, card, network)
    return TunePlan(
        model=x.model.part_name(),
        labels=last.labels,
        steps=steps,
        evaluated=card.test,
        seconds=seconds,
        disk=0 if x.keep.weights == "none" else kept,
        checkpoints=checkpoints,
        memory=memory(x, card, (last,), network),
    )
