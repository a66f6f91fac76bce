"""What output discrepancy has to do with the loss: Figs. 1, 3, 5 and 6 of the TOD paper.

    python jobs/analyse/tod.py RUN... [--out DIR] [--tracking URI | --no-tracking]

Reads the hidden labels of the pool, for evaluation only: see study.py. RUN... are seeds of one
experiment; figures show the mean over them. All is taken over the candidates of each cycle's pass.

- Fig. 1: the squared norm of the gradient of a scalar output f against the loss, last pass. The
  paper's f is a single number, and says nothing of several classes. `predicted` takes the logit of
  the predicted class; `sum` the sum of all logits, which softmax does not see.
- Fig. 3: mean discrepancy and mean loss of each cycle. Cycle 0 compares with a network that was
  never trained: it is marked, and left out of the scale and the correlation.
- Fig. 5: mean loss in 5 % bins of candidates, in the order of falling discrepancy.
- Fig. 6: which share of the q highest losses is among the q highest scores: q for a random score.
  Every score of the pass is a line: add entropy and least_confidence as observers to have them.
  Mean over all cycles but the first, where COD follows another rule; over that if it is the only
  one.

The discrepancy is computed from the networks, so any run will do. Source: Huang et al. (ICCV 2021);
the loss is the cross entropy of the current network, in eval mode, which the paper leaves open.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import analysis
import numpy as np
import torch
import typer
from analysis import Results, Row
from numpy.typing import NDArray
from study import Study
from torch import Tensor

from rayal.report.drawing import COLOURS, GREY
from rayal.report.panels import band, legend, panel
from rayal.signals.gradients.norms import gradient_norms
from rayal.strategies.cod import output_discrepancy

BINS = 20
Scalar = Literal["predicted", "sum"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cycle:
    """One cycle of one run, its M candidates sorted by id."""

    seed: int
    cycle: int
    labels: int
    """What its network was trained on."""
    ids: list[str]
    loss: Values  # M, nats
    discrepancy: Values  # M, 0 to 1
    scores: dict[str, Values]
    """By strategy, M, higher = label sooner."""

    @property
    def key(self) -> Row:
        """The first columns of every table."""
        return {"seed": self.seed, "cycle": self.cycle, "labels": self.labels}


def look(study: Study, cycle: int) -> Cycle:
    """Everything that the figures need of a cycle: one forward of two networks."""
    now, before = study.network(cycle), study.previous(cycle)

    def measure(images: Tensor, truth: Tensor) -> Tensor:
        with torch.no_grad():
            logits = now(images).logits
            moved = output_discrepancy(logits.softmax(1), before(images).logits.softmax(1))
            return torch.stack([study.x.task.loss(logits, truth), moved], dim=1)

    columns = study.columns(cycle)
    ids = [str(unit) for unit in next(iter(columns.values())).ids]
    loss, discrepancy = study.per_unit(ids, measure).T
    scores = {name: pool.scores for name, pool in columns.items() if pool.scores is not None}
    labels = len(study.labeled(cycle))
    return Cycle(study.x.seed, cycle, labels, ids, loss, discrepancy, scores)


def slopes(study: Study, cycle: int, ids: Sequence[str], scalar: Scalar) -> Values:
    """M: ||grad_w f||^2 over all parameters."""
    network = study.network(cycle)
    f = {"predicted": lambda logits: logits.amax(1), "sum": lambda logits: logits.sum(1)}[scalar]
    return study.per_unit(ids, lambda images, _: gradient_norms(network, images, f).sum(1))


def loss_and_slope(results: Results, studies: Sequence[Study], units: int, scalar: Scalar) -> None:
    """Fig. 1, of at most `units` candidates of each run's last pass."""
    rows = []
    for study in studies:
        at = study.passes[-1]
        every = next(iter(study.columns(at).values())).ids
        chosen = np.random.default_rng(study.x.seed).permutation(len(every))[:units]
        ids = [str(unit) for unit in every[np.sort(chosen)]]
        losses, norms = study.losses(study.network(at), ids), slopes(study, at, ids, scalar)
        rows += [
            {"seed": study.x.seed, "cycle": at, "unit": unit, "loss": loss, "squared_norm": norm}
            for unit, loss, norm in zip(ids, losses, norms, strict=True)
        ]
    loss, norm = (np.array([row[name] for row in rows]) for name in ("loss", "squared_norm"))
    what = {"predicted": "logit of the predicted class", "sum": "sum of the logits"}[scalar]
    figure, ax = panel("Loss and gradient", "Loss (nats)", rf"$||\nabla_w f||^2$, f: {what}")
    ax.plot(loss, norm, ".", color=COLOURS[0], ms=3, alpha=0.4, mew=0)
    ax.set_yscale("log")
    found = {"f": scalar, "units": len(rows), **analysis.correlations(loss, norm)}
    results.figure("tod_fig1", figure)
    results.table("tod_fig1", rows, [found])


def course(results: Results, cycles: Sequence[Cycle]) -> None:
    """Fig. 3: mean discrepancy and mean loss, each scaled to 0..1 over a run's later cycles."""
    rows, found = [], []
    scaled: dict[str, dict[float, list[float]]] = {name: defaultdict(list) for name in MEANS}
    for seed in sorted({c.seed for c in cycles}):
        own = [c for c in cycles if c.seed == seed]
        rows += [
            {**c.key, **{name: mean(c) for name, mean in MEANS.items()}, "compared": c.cycle > 0}
            for c in own
        ]
        later = [c for c in own if c.cycle > 0]
        means = {name: [mean(c) for c in later] for name, mean in MEANS.items()}
        found.append({"seed": seed, "cycles": len(later), **analysis.correlations(*means.values())})
        for name, values in means.items():
            for c, value in zip(later, _scaled(values), strict=True):
                scaled[name][c.labels].append(value)
    figure, ax = panel("Discrepancy and loss by cycle", "Labels", "Scaled to 0..1")
    for place, (name, points) in enumerate(scaled.items()):
        if points:
            band(ax, points, name.replace("_", " "), place)
    ax.axvline(cycles[0].labels, color=GREY, lw=1, ls=":", label="cycle 0: not comparable")
    legend(ax)
    results.figure("tod_fig3", figure)
    results.table("tod_fig3", rows)
    print(f"correlation across cycles\n{analysis.markdown(found)}\n")


MEANS: dict[str, Callable[[Cycle], float]] = {
    "mean_discrepancy": lambda c: float(c.discrepancy.mean()),
    "mean_loss": lambda c: float(c.loss.mean()),
}


def _scaled(values: Sequence[float]) -> list[float]:
    low, span = min(values, default=0.0), float(np.ptp(values)) if values else 0.0
    return [(value - low) / span if span else 0.5 for value in values]


def bin_losses(discrepancy: Values, loss: Values) -> list[float]:
    """The mean loss of each 5 % of the units, those of the largest discrepancy first."""
    order = np.argsort(-discrepancy, kind="stable")
    return [float(part.mean()) for part in np.array_split(loss[order], min(BINS, len(loss)))]


def by_bins(results: Results, cycles: Sequence[Cycle]) -> None:
    """Fig. 5: one line per cycle."""
    rows, found = [], []
    lines: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for c in cycles:
        losses = bin_losses(c.discrepancy, c.loss)
        rows += [{**c.key, "bin": n, "mean_loss": loss} for n, loss in enumerate(losses, 1)]
        spearman = analysis.correlations(range(len(losses)), losses)["spearman"]
        found.append({**c.key, "spearman": spearman})
        for n, loss in enumerate(losses):
            lines[c.cycle][(n + 0.5) / len(losses)].append(loss)
    figure, ax = panel(
        "Loss by discrepancy", "Candidates, largest discrepancy first", "Mean loss (nats)"
    )
    for cycle, points in sorted(lines.items()):
        name = f"cycle {cycle}" if cycle else "cycle 0 (against an untrained network)"
        band(ax, points, name, cycle)
    legend(ax)
    results.figure("tod_fig5", figure)
    results.table("tod_fig5", rows, found)


def shares(score: Values, loss: Values) -> dict[float, float]:
    """q -> the share of the q M highest losses that is among the q M highest scores."""
    found = {}
    for q in (n / BINS for n in range(1, BINS + 1)):
        count = max(1, round(q * len(loss)))
        both = analysis.highest(score, count) & analysis.highest(loss, count)
        found[q] = len(both) / count
    return found


def overlaps(results: Results, cycles: Sequence[Cycle]) -> None:
    """Fig. 6: one line per score of the pass."""
    rows = [
        {**c.key, "score": name, "q": q, "share": share, "drawn": c.cycle > 0}
        for c in cycles
        for name, score in c.scores.items()
        for q, share in shares(score, c.loss).items()
    ]
    rows = [{**row, "drawn": True} for row in rows] if not any(r["drawn"] for r in rows) else rows
    lines: dict[str, dict[float, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row["drawn"]:
            lines[row["score"]][row["q"]].setdefault(row["seed"], []).append(row["share"])
    figure, ax = panel(
        "Highest scores among the highest losses", "Share of candidates q", "Overlap"
    )
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="by chance")
    for place, (name, by_q) in enumerate(lines.items()):
        means = {q: [float(np.mean(s)) for s in seeds.values()] for q, seeds in by_q.items()}
        band(ax, means, name, place)
    legend(ax)
    shown = [
        {"score": name, **{f"q={q:g}": _mean(by_q[q]) for q in (0.05, 0.1, 0.2, 0.5)}}
        for name, by_q in lines.items()
    ]
    results.figure("tod_fig6", figure)
    results.table("tod_fig6", rows, shown)


def _mean(by_seed: dict[int, list[float]]) -> float:
    return float(np.mean([np.mean(values) for values in by_seed.values()]))


def main(
    runs: analysis.Runs,
    out: analysis.Out = Path("analysis"),
    scalar: Annotated[Scalar, typer.Option(help="The f of Fig. 1.")] = "predicted",
    units: Annotated[int, typer.Option(min=1, help="Candidates of a run in Fig. 1.")] = 2000,
    tracking: analysis.Tracking = None,
    no_tracking: analysis.NoTracking = False,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """Discrepancy, loss and gradients of finished runs: Figs. 1, 3, 5 and 6 of the TOD paper."""
    studies, results = analysis.open_studies(runs, plugins), Results(out)
    analysis.alike(studies)
    cycles = [look(study, cycle) for study in studies for cycle in study.passes]
    loss_and_slope(results, studies, units, scalar)
    course(results, cycles)
    by_bins(results, cycles)
    overlaps(results, cycles)
    results.send([study.record for study in studies], tracking, no_tracking)


if __name__ == "__main__":
    analysis.launch(main)
