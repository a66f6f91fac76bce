"""Why the numbers of a report may not mean what they seem to."""

from collections.abc import Iterator

from rayal.data.tasks.base import untested_note
from rayal.errors import counted
from rayal.report import explored, fine_tuned
from rayal.report.groups import BASELINE, Group
from rayal.report.references import other_data

ENOUGH_SEEDS = 5
"""With 3 seeds the best of several strategies often changes (Werner et al., CDALBench, 2024)."""


def warnings(g: Group) -> Iterator[str]:
    """Of the runs of a group."""
    where = g.question
    if not g.tested:
        yield f"{where}: {untested_note(g.metric)}"
        if chosen := [arm.strategy for arm in g.arms if arm.strategy != BASELINE]:
            yield f"{where}: {explored.better_than_random(chosen, g.metric)}"
    without = {arm.scheme for arm in g.arms} - {
        arm.scheme for arm in g.arms if arm.strategy == BASELINE
    }
    for scheme in sorted(without) if g.tested else ():
        yield (
            f"{where}: no {BASELINE} baseline with scheme {scheme};"
            " nobody can tell whether a strategy helps"
        )
    runs = [run for arm in g.arms for run in arm.runs]
    if partial := sum(not run.complete for run in runs):
        yield (
            f"{where}: {partial} of {counted(len(runs), 'run')} not complete; areas and tests"
            " leave them out"
        )
    if early := sum(bool(run.stopped) for run in runs):
        yield (
            f"{where}: {early} of {counted(len(runs), 'run')} ended by a rule of stop; areas and"
            " tests go by the label counts that all complete runs share"
        )
    for label in fine_tuned.unequal(g):
        yield (
            f"{where}: not all seeds of {label} were fine-tuned alike with the same labels; it has"
            " no figure of a whole network"
        )
    for reference in other_data(g):
        yield (
            f"{where}: reference {reference.name} is of other data under the same name; its test"
            " split may be another"
        )
    for first, second, seeds in g.unpaired:
        yield (
            f"{where}: {first} and {second} began with different units for seed"
            f" {', '.join(map(str, seeds))}; those runs are not compared in pairs"
        )
    if g.pairs and (n := min(pair.test.difference.n for pair in g.pairs)) < ENOUGH_SEEDS:
        yield (
            f"{where}: n = {n} is not enough to rank strategies;"
            f" run {ENOUGH_SEEDS} seeds or more of each"
        )
