"""How long the cycles of a run take on this machine."""

from collections.abc import Iterator

from rayal.data.card import Card
from rayal.experiment.experiment import Experiment
from rayal.report.amounts import duration
from rayal.workflows.plan.cycles import Cycle
from rayal.workflows.plan.probe import Probe

CONNECT_SECONDS, TRAIN_SECONDS, SCORE_SECONDS = 6.0, 10.0, 4.0
"""Start-up on Ray: of Ray itself, of a training's workers, of a pass's actors (2 cores, 2.60)."""


def cycle_seconds(x: Experiment, cycle: Cycle, card: Card, probe: Probe) -> float:
    """How long a cycle takes on this machine, and with the first one what comes before it."""
    train = x.ensemble * cycle.steps * probe.step(min(cycle.labels, x.scheme.batch_size))
    seen = cycle.scored + (cycle.labels if cycle.scored and x.scans_labeled() else 0)
    score = seen * probe.score[min(cycle.cycle, 1)]
    work = train + cycle.evaluated * probe.evaluate + score
    work += probe.selected(cycle.scored) if cycle.scored else 0.0
    work += sum(seconds for _, _, seconds in _fits(x, cycle, probe))
    before = cycle.cycle == 0 and x.chooses_first
    work += looked_at(x, card) * probe.first if before else 0.0
    if x.compute.engine == "local":
        return work
    work += TRAIN_SECONDS + (SCORE_SECONDS if cycle.scored else 0) + SCORE_SECONDS * before
    return work + (CONNECT_SECONDS if cycle.cycle == 0 else 0)


def _fits(x: Experiment, cycle: Cycle, probe: Probe) -> Iterator[tuple[str, int, float]]:
    """Name, steps and seconds of what is fitted beside a cycle's model."""
    for spec in x.fits() if cycle.scored else ():
        steps = spec.steps(cycle.labels, cycle.scored)
        yield spec.name, steps, steps * probe.fits.get(spec.name, 0.0)


def told_fits(x: Experiment, cycles: tuple[Cycle, ...], probe: Probe | None) -> Iterator[str]:
    """What fits cost, which is often more than all else together."""
    for spec in x.fits():
        steps = [spec.steps(cycle.labels, cycle.scored) for cycle in cycles if cycle.scored]
        if not steps:
            continue
        each = sorted({steps[0], steps[-1]})
        told = (
            f"{spec.name} is fitted in every cycle, in {' to '.join(f'{n:,}' for n in each)} steps"
        )
        if probe is not None and spec.name in probe.fits:
            told += f": {duration(sum(steps) * probe.fits[spec.name])} of the run on this machine"
        yield told


def looked_at(x: Experiment, card: Card) -> int:
    """Candidates of the pass by which a strategy chooses the first units."""
    return min(x.candidates or card.pool, card.pool) if x.chooses_first else 0
