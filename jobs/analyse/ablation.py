"""What the choice and what the loss contributes, and each class: Figs. 9, 10 and 11 of TOD.

    python jobs/analyse/ablation.py RUN... [--out DIR] [--tracking URI | --no-tracking]

RUN... are runs on one dataset, with any strategies, schemes and seeds: of CIFAR-10 those below
OUT/tod_cifar10, OUT/cyclic_od_cifar10 and OUT/tod_official_cifar10 of jobs/reproduce/tod.py. All is
read from the run folders.

- Fig. 9, choice: the strategies under plain training (scheme `supervised`), each beside random
  selection.
- Fig. 10, loss: the schemes under one choice, COD, each beside plain training. `tod` is the loss
  with a moving average as its teacher (EMAOD there), `cyclic_od` that with last cycle's model.
- Fig. 11, classes: test accuracy of each class in every cycle, and its change in the last one. The
  paper shows two classes that fall there.

A difference is of the area under the curve over the labels that all arms of a figure share, in
points, seed by seed: mean +- half of the 95 % t-interval; p of the paired t-test, not corrected for
several tests. A figure with fewer than two arms is left out. The paper prints no numbers.

Source: Huang et al. (ICCV 2021), Sec. 5.4; there is no code for it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import analysis
import numpy as np
from analysis import Results, Row

from rayal.errors import UsageError
from rayal.report.metric import limits, scale, unit
from rayal.report.panels import band, legend, panel
from rayal.report.per_class import Grid, grids
from rayal.report.runs import Run
from rayal.report.statistics import aulc, interval, paired_test
from rayal.runs.record import Record

PLAIN, CHOICE, CHANCE = "supervised", "cod", "random"
Arms = Mapping[str, Sequence[Run]]


def alike(runs: Sequence[Run]) -> None:
    """Raises UsageError for runs whose curves say nothing about each other."""
    datasets = sorted({run.dataset for run in runs})
    if len(datasets) > 1:
        raise UsageError(f"runs on {' and '.join(datasets)}; analyse one dataset at a time")
    for arm in sorted({(run.strategy, run.scheme) for run in runs}):
        own = [run for run in runs if (run.strategy, run.scheme) == arm]
        for run in own[1:]:
            if run.settings != own[0].settings:
                raise UsageError(
                    f"{own[0].url} and {run.url} differ in more than the seed; name one of them"
                )


def arms(runs: Sequence[Run], name: Callable[[Run], str | None], first: str) -> Arms:
    """The runs by name, without those that have none; `first` is what others are compared with."""
    found: dict[str, list[Run]] = {first: []}
    for run in runs:
        if (own := name(run)) is not None:
            found.setdefault(own, []).append(run)
    return {each: own for each, own in found.items() if own}


def choice(run: Run) -> str | None:
    """The strategy, under plain training."""
    return run.strategy if run.scheme == PLAIN else None


def loss(run: Run) -> str | None:
    """The scheme, under COD."""
    return run.scheme if run.strategy == CHOICE else None


def differences(found: Arms) -> list[Row]:
    """Each arm against the first one, over seeds that reached all labels that both have."""
    labels = sorted(set.intersection(*(run.measured for own in found.values() for run in own)))
    if len(labels) < 2:
        return []
    factor = scale(next(iter(found.values()))[0].metric)
    areas = {
        name: {run.seed: factor * aulc(labels, [run.points[at] for at in labels]) for run in own}
        for name, own in found.items()
    }
    (first, base), *others = areas.items()
    rows = []
    for name, own in others:
        seeds = sorted(own.keys() & base.keys())
        if not seeds:
            continue
        test = paired_test([own[seed] for seed in seeds], [base[seed] for seed in seeds])
        rows.append(
            {
                "arm": name,
                "against": first,
                "labels": f"{labels[0]} to {labels[-1]}",
                "seeds": len(seeds),
                "difference": test.difference.mean,
                "half": test.difference.half,
                "p": test.p,
            }
        )
    return rows


def draw(results: Results, name: str, title: str, found: Arms) -> None:
    """Curves of the arms, every point of them, and their differences."""
    metric = next(iter(found.values()))[0].metric
    figure, ax = panel(title, "Labels", f"Test {metric}{unit(metric)}")
    rows: list[Row] = []
    for place, (arm, own) in enumerate(found.items()):
        points: dict[float, list[float]] = defaultdict(list)
        for run in own:
            for at in sorted(run.measured):
                value = scale(metric) * run.points[at]
                points[at].append(value)
                rows.append({"arm": arm, "seed": run.seed, "labels": at, metric: value})
        band(ax, points, f"{arm} (n = {len(own)})", place, limits(metric))
    legend(ax)
    results.figure(name, figure)
    results.table(name, rows, differences(found))


def by_class(results: Results, studied: Sequence[Grid]) -> None:
    """Fig. 11: each class of each arm, means over seeds, and what the last cycle changed."""
    found: dict[tuple[str, str], list[Grid]] = defaultdict(list)
    for grid in studied:
        found[grid.run.strategy, grid.run.scheme].append(grid)
    rows, shown = [], []
    for (strategy, scheme), own in found.items():
        for grid in own:
            rows += [
                {
                    **{"strategy": strategy, "scheme": scheme, "seed": grid.run.seed},
                    **{"cycle": cycle, "labels": grid.labels[at], "class": grid.classes[number]},
                    "accuracy": 100 * float(grid.values[number, at]),
                }
                for at, cycle in enumerate(grid.cycles)
                for number in range(len(grid.classes))
            ]
        shown += last_changes(own)
    results.table("tod_fig11", rows, shown)


def last_changes(own: Sequence[Grid]) -> list[Row]:
    """A row for each class of an arm: in the last cycle but one, in the last, and the change, in
    points. Of seeds that got equally far; nothing where there is one cycle alone."""
    furthest = max(grid.cycles[-1] for grid in own)
    whole = [grid for grid in own if grid.cycles[-1] == furthest and len(grid.cycles) > 1]
    rows = []
    for number, name in enumerate(own[0].classes if whole else ()):
        ends = 100 * np.array([grid.values[number, -2:] for grid in whole])
        ends = ends[np.isfinite(ends).all(axis=1)]
        if not len(ends):
            continue
        change = interval(ends[:, 1] - ends[:, 0])
        rows.append(
            {
                "strategy": own[0].run.strategy,
                "scheme": own[0].run.scheme,
                "class": name,
                "seeds": change.n,
                f"cycle {furthest - 1}": float(ends[:, 0].mean()),
                f"cycle {furthest}": float(ends[:, 1].mean()),
                "change": change.mean,
                "half": change.half,
            }
        )
    return rows


def main(
    runs: analysis.Runs,
    out: analysis.Out = Path("analysis"),
    tracking: analysis.Tracking = None,
    no_tracking: analysis.NoTracking = False,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """Choice and loss apart, and class by class: Figs. 9, 10 and 11 of the TOD paper."""
    records, results = analysis.records(runs, plugins), Results(out)
    read = [Run.read(record) for record in records]
    alike(read)
    for name, title, key, first in (
        ("tod_fig9", "Choice, under plain training", choice, CHANCE),
        ("tod_fig10", "Loss, under COD", loss, PLAIN),
    ):
        if len(found := arms(read, key, first)) > 1:
            draw(results, name, title, found)
        else:
            print(f"{name}: fewer than two arms here\n")
    by_class(results, [grid for record in records for grid in _accuracies(record)])
    results.send(records, tracking, no_tracking)


def _accuracies(record: Record) -> list[Grid]:
    return [grid for grid in grids(record) if grid.metric == "per_class_accuracy"]


if __name__ == "__main__":
    analysis.launch(main)
