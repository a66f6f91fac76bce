"""Bounds on influence: Table 2 and Fig. 3 of the AAAI 2022 gradient norm paper.

    python jobs/analyse/influence.py RUN... [--layers last] [--out DIR] [--no-tracking]

Reads the hidden labels of the pool, for evaluation only: see study.py. RUN... are seeds of one
experiment. M candidates x of the pass of cycle c; g_x is the gradient of a unit's loss; v = H^-1
times the sum of the gradients of the test units, see curvature.py for H, which is taken over the
labeled set. All under the network of cycle c + 1, that was trained on what the run chose: this
is known only after the choice, so the table explains a method and is none.

- Fig. 3, means over the candidates: target v . g_x, approx 1 |v . g_x|, approx 2 ||g_x|| ||v||,
  approx 3 ||g_x|| ||v|| with g_x under the network of cycle c. The loss is the entropy in all four.
  Target <= approx 1 <= approx 2 always; where approx 3 lies is an observation.
- Table 2: how many of the K highest by Eq. 5, the norm of the entropy's gradient under cycle c, are
  among the K highest by Eq. 3, v . g_x with true labels: signed as the paper writes it, and
  absolute. K is what the run chose in the cycle.

Damping decides how much H bends v, and small ones need many iterations: the table says how far the
solution got (`residual`). `--layers last` looks at the last linear layer alone, solved exactly.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import analysis
import numpy as np
import torch
import typer
from analysis import Results, Row
from curvature import Batches, Loss, Slopes, Solution, conjugate_gradient, last_layer_curvature
from numpy.typing import NDArray
from study import Study
from torch import Tensor, nn

from rayal.data.card import SplitName
from rayal.errors import UsageError
from rayal.models.network import LAST_LAYER
from rayal.report.panels import band, legend, panel
from rayal.signals.batch import entropy

Layers = Literal["all", "last"]
Values = NDArray[np.float64]
BOUNDS = ("target", "approx_1", "approx_2", "approx_3")


@dataclass(frozen=True)
class Solver:
    """How v is found."""

    layers: Layers
    damping: float
    iterations: int
    tolerance: float
    dtype: torch.dtype

    def slopes(self, network: nn.Module) -> Slopes:
        """Derivatives with respect to the layers looked at."""
        return Slopes(network.to(self.dtype), LAST_LAYER if self.layers == "last" else None)

    def solve(self, slopes: Slopes, labeled: Batches, test: Batches, loss: Loss) -> Solution:
        """v = (G + damping I)^-1 sum of the test gradients."""
        b = slopes.gradient(test, loss)
        if self.layers == "all":
            product = slopes.curvature(labeled, self.damping)
            return conjugate_gradient(product, b, self.iterations, self.tolerance)
        matrix = last_layer_curvature(slopes.network, labeled, self.damping)
        v: Tensor = torch.linalg.solve(matrix, b)
        return Solution(v, 0, float((matrix @ v - b).norm() / b.norm()))


def entropy_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """N: the entropy of the prediction; `truth` is not looked at."""
    return entropy(logits.log_softmax(1))


def bounds(along: Values, then: Values, now: Values, v: float) -> dict[str, float]:
    """Means of the terms of Fig. 3 over M units, from v . g_x, ||g_x|| under the next network and
    under this one, and ||v||."""
    terms = (along, np.abs(along), then * v, now * v)
    return {name: float(term.mean()) for name, term in zip(BOUNDS, terms, strict=True)}


def look(study: Study, cycle: int, solver: Solver, train: int, test: int) -> Row:
    """One row of the table; H and v from so many labeled and test units at most."""
    now, then = (solver.slopes(study.network(c)) for c in (cycle, cycle + 1))
    labeled = batches(study, list(study.labeled(cycle + 1)), "pool", train, solver.dtype)
    tested = batches(study, study.store.test.ids(), "test", test, solver.dtype)
    true_loss = study.x.task.loss
    solution = solver.solve(then, labeled, tested, entropy_loss)
    with_truth = solver.solve(then, labeled, tested, true_loss)

    def measure(images: Tensor, truth: Tensor) -> Tensor:
        images = images.to(solver.dtype)
        columns = [
            then.along(solution.x, images, truth, entropy_loss),
            then.norms(images, truth, entropy_loss),
            now.norms(images, truth, entropy_loss),
            then.along(with_truth.x, images, truth, true_loss),
        ]
        return torch.stack(columns, dim=1)

    ids = [str(unit) for unit in next(iter(study.columns(cycle).values())).ids]
    along, norms_then, norms_now, influence = study.per_unit(ids, measure).T
    k = len(study.picks(cycle))
    by_norm = analysis.highest(norms_now, k)
    return {
        "seed": study.x.seed,
        "cycle": cycle,
        "labels": len(study.labeled(cycle)),
        **bounds(along, norms_then, norms_now, float(solution.x.norm())),
        "k": k,
        "candidates": len(ids),
        "signed": len(by_norm & analysis.highest(influence, k)),
        "absolute": len(by_norm & analysis.highest(np.abs(influence), k)),
        "by_chance": k * k / len(ids),
        "iterations": max(solution.iterations, with_truth.iterations),
        "residual": max(solution.residual, with_truth.residual),
    }


def batches(
    study: Study, ids: Sequence[str], split: SplitName, count: int, dtype: torch.dtype
) -> Batches:
    """At most `count` of these units, all for 0, drawn by the run's seed."""
    order = np.random.default_rng(study.x.seed).permutation(len(ids))[: count or None]
    chosen = [ids[place] for place in order]
    return [(images.to(dtype), truth) for _, images, truth in study.batches(chosen, split)]


def draw(results: Results, rows: Sequence[Row]) -> None:
    """Fig. 3, means over runs by cycle, and the table."""
    figure, ax = panel("Bounds on influence", "Labels", "Mean over candidates")
    for place, name in enumerate(BOUNDS):
        points: dict[float, list[float]] = defaultdict(list)
        for row in rows:
            points[row["labels"]].append(row[name])
        band(ax, points, name.replace("_", " "), place)
    smallest = min(abs(row[name]) for row in rows for name in BOUNDS)
    ax.set_yscale("symlog", linthresh=max(smallest, 1e-12))  # the target may be negative
    legend(ax)
    results.figure("influence_fig3", figure)
    results.table("influence_table2", rows)


def main(
    runs: analysis.Runs,
    out: analysis.Out = Path("analysis"),
    layers: Annotated[Layers, typer.Option(help="Parameters looked at.")] = "all",
    damping: Annotated[float, typer.Option(min=1e-12, help="Added to H's diagonal.")] = 0.01,
    iterations: Annotated[int, typer.Option(min=1, help="Of CG, at most.")] = 100,
    tolerance: Annotated[float, typer.Option(help="Relative residual where CG stops.")] = 1e-4,
    double: Annotated[bool, typer.Option("--double", help="Compute in float64.")] = False,
    train_units: Annotated[int, typer.Option(min=0, help="Labeled units in H; 0: all.")] = 0,
    test_units: Annotated[int, typer.Option(min=0, help="Test units in v; 0: all.")] = 0,
    tracking: analysis.Tracking = None,
    no_tracking: analysis.NoTracking = False,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """Influence of candidates on the test loss, and the bounds that gradient norms are."""
    studies, results = analysis.open_studies(runs, plugins), Results(out)
    analysis.alike(studies)
    dtype = torch.float64 if double else torch.float32
    solver = Solver(layers, damping, iterations, tolerance, dtype)
    rows = [
        look(study, cycle, solver, train_units, test_units)
        for study in studies
        for cycle in study.passes
        if cycle + 1 in study.trained
    ]
    if not rows:
        raise UsageError(f"{studies[0].url} has no cycle after a selection; run it on")
    draw(results, rows)
    if layers == "all" and (rough := [row for row in rows if row["residual"] > tolerance]):
        left = f"{len(rough)} of {len(rows)} solutions stopped before {tolerance:g}"
        print(f"warning: {left}; take more --iterations or --damping", file=sys.stderr)
    results.send([study.record for study in studies], tracking, no_tracking)


if __name__ == "__main__":
    analysis.launch(main)
