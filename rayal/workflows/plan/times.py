"""How long the cycles of a run take on this machine."""

from collections.abc import Iterator

import torch

from rayal.data.card import Card
from rayal.engine import machine
from rayal.engine.capacity import at_once, fit_beside_scorers, resolved_compute
from rayal.experiment.experiment import Experiment
from rayal.report.amounts import duration
from rayal.workflows.plan.cycles import Cycle
from rayal.workflows.plan.probe import Probe
from rayal.workflows.plan.timed_selection import grown

CONNECT_SECONDS, TRAIN_SECONDS, SCORE_SECONDS = 6.0, 10.0, 4.0
"""Start-up on Ray: of Ray itself, of a training's workers, of what scores and evaluates, which
starts while they do where both have room (2 cores, 2.60)."""


def cycle_seconds(x: Experiment, cycle: Cycle, card: Card, probe: Probe) -> float:
    """How long a cycle takes on this machine, and with the first one what comes before it."""
    train = x.ensemble * cycle.steps * probe.step(min(cycle.labels, x.scheme.batch_size))
    seen = cycle.scored + (cycle.labels if cycle.scored and x.scans_labeled() else 0)
    score = seen * probe.score[min(cycle.cycle, 1)]
    work = train + cycle.evaluated * probe.evaluate + score
    work += probe.selected(cycle.scored) if cycle.scored else 0.0
    work += sum(seconds for _, _, seconds in _fits(x, cycle, probe))
    work += first_seconds(x, card, probe) if cycle.cycle == 0 else 0.0
    return work + start_seconds(x, cycle)


def first_seconds(x: Experiment, card: Card, probe: Probe) -> float:
    """How long a strategy takes to choose the first units; 0 where they are drawn."""
    seen = looked_at(x, card)
    return seen * probe.first + grown(probe.first_select, seen) if seen else 0.0


def start_seconds(x: Experiment, cycle: Cycle) -> float:
    """How long processes take to start in a cycle, as on a cluster that rayal starts here."""
    if x.compute.engine == "local":
        return 0.0
    begins = cycle.cycle == 0
    seconds = CONNECT_SECONDS if begins else 0.0
    if begins and x.chooses_first:
        seconds += SCORE_SECONDS
    if stay(x):
        return seconds + (TRAIN_SECONDS if begins else 0.0)
    fits = len(x.fits()) if cycle.scored else 0  # each sends away what has evaluated
    return seconds + (1 + fits) * TRAIN_SECONDS + (1 + (fits > 0)) * SCORE_SECONDS


def common_start_seconds(x: Experiment) -> float:
    """Of a run's start-up what trials of a sweep that follow each other have once: the cluster, and
    workers that stay."""
    if x.compute.engine == "local":
        return 0.0
    return CONNECT_SECONDS + (TRAIN_SECONDS if stay(x) else 0.0)


def stay(x: Experiment) -> bool:
    """Whether a cluster that rayal starts here has room for training workers beside what scores:
    else the ones end before the others start, in every cycle."""
    cores = machine.cores()
    here = [{"CPU": float(machine.own_cpus(cores)), "GPU": float(torch.cuda.device_count())}]
    compute = resolved_compute(x.compute, here, cores)
    return fit_beside_scorers(compute, here, min(x.ensemble, at_once(compute, here, cores)))


def final_start_seconds(x: Experiment) -> float:
    """How long processes take to start after the last cycle, for one training more."""
    return 0.0 if x.compute.engine == "local" or stay(x) else TRAIN_SECONDS + SCORE_SECONDS


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
        told = f"{spec.name} in every cycle, in {' to '.join(f'{n:,}' for n in each)} steps"
        if probe is not None and spec.name in probe.fits:
            told += f": {duration(sum(steps) * probe.fits[spec.name])} of the run on this machine"
        yield told


def looked_at(x: Experiment, card: Card) -> int:
    """Candidates of the pass by which a strategy chooses the first units."""
    return min(x.candidates or card.pool, card.pool) if x.chooses_first else 0
