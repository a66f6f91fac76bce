"""Gradient norms as scores: Tables 1 and 3 of the AAAI 2022 gradient norm paper.

    python jobs/analyse/gradnorm.py RUN... [--out DIR] [--tracking URI | --no-tracking]

Reads the hidden labels of the pool, for evaluation only: see study.py. RUN... are seeds of one
experiment. M candidates of a pass, C classes, T parameter tensors.

- Table 1: how many of the K units that a method takes are among the K largest gradients of the loss
  with the true labels. The paper does not say among which units: here among the candidates of the
  pass, as its own numbers imply. `by chance` is K / M. Methods: what the run chose; the K highest
  of each score of the pass; and controls computed here from the cycle's network.
- Table 3: accuracy on the labeled set minus test accuracy, in points: eval mode, deterministic
  images, last epoch.

`--norm` is that of both sides: `global` is the L2 norm over all parameters, `sum` adds up that of
each tensor, as the official code does. Table 2 and Fig. 3 are in influence.py.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import analysis
import numpy as np
import torch
import typer
from analysis import Results, Row
from numpy.typing import NDArray
from study import Study
from torch import Tensor, nn
from torch.nn import functional as F

from rayal.report.drawing import GREY
from rayal.report.panels import band, legend, panel
from rayal.signals.batch import entropy
from rayal.signals.gradients.norms import PerUnitGradients

Norm = Literal["global", "sum"]
Values = NDArray[np.float64]
NORMS: dict[Norm, Callable[[Tensor], Tensor]] = {
    "global": lambda squares: squares.sum(1).sqrt(),
    "sum": lambda squares: squares.sqrt().sum(1),
}
"""N T squared norms per tensor -> N."""
CONTROLS = ("entropy", "least_confidence", "egl_last_layer", "pseudo_label", "entropy_gradnorm")


def measures(network: nn.Module, norm: Norm) -> Callable[[Tensor, Tensor], Tensor]:
    """Images and true labels -> N 6: the norm for the true labels, then every control."""

    def measure(images: Tensor, truth: Tensor) -> Tensor:
        gradients = PerUnitGradients(network, images)
        log_p = gradients.logits.log_softmax(1)
        p, uncertainty = log_p.exp(), entropy(log_p)
        classes = p.shape[1]

        def size(logit_gradients: Tensor) -> Tensor:
            return NORMS[norm](gradients.squared_norms(logit_gradients))

        with torch.no_grad():
            egl = expected_length(p, network(images).features, norm)
        return torch.stack(
            [
                size(p - F.one_hot(truth, classes)),
                uncertainty,
                1 - p.amax(1),
                egl,
                size(p - F.one_hot(p.argmax(1), classes)),
                size(-p * (log_p + uncertainty[:, None])),
            ],
            dim=1,
        )

    return measure


def expected_length(p: Tensor, features: Tensor, norm: Norm) -> Tensor:
    """N: sum_i p_i ||gradient of CE_i|| at the last linear layer and its bias, N C and N D -> N.

    Source: expected gradient length (Settles); its gradient for class i is (p - e_i) x (a, 1).
    """
    slopes = (p.square().sum(1, keepdim=True) - 2 * p + 1).clamp(min=0).sqrt()
    a = features.square().sum(1)
    return (p * slopes).sum(1) * ((a + 1).sqrt() if norm == "global" else a.sqrt() + 1)


def overlaps(study: Study, cycle: int, norm: Norm) -> list[Row]:
    """Table 1: a row per method."""
    columns, picks = study.columns(cycle), study.picks(cycle)
    ids = [str(unit) for unit in next(iter(columns.values())).ids]
    true, *controls = study.per_unit(ids, measures(study.network(cycle), norm)).T
    k, places = len(picks), {unit: place for place, unit in enumerate(ids)}
    methods = {"chosen by the run": {places[unit] for unit in picks}}
    for name, pool in columns.items():
        if pool.scores is not None:
            methods[name] = analysis.highest(pool.scores, k)
    for name, values in zip(CONTROLS, controls, strict=True):
        methods[f"control: {name}"] = analysis.highest(values, k)
    wanted = analysis.highest(true, k)
    key = {"seed": study.x.seed, "cycle": cycle, "labels": len(study.labeled(cycle))}
    return [
        {
            **key,
            "candidates": len(ids),
            "k": k,
            "method": method,
            "overlap": len(found & wanted),
            "share": len(found & wanted) / k,
            "by_chance": k / len(ids),
        }
        for method, found in methods.items()
    ]


def table_1(results: Results, studies: Sequence[Study], norm: Norm) -> None:
    """Overlaps of all runs, and their means over runs by cycle."""
    rows = [row for s in studies for cycle in s.passes for row in overlaps(s, cycle, norm)]
    rows = [{**row, "norm": norm} for row in rows]
    figure, ax = panel("Overlap with the largest true gradients", "Labels", "Overlap / K")
    chance = {row["labels"]: row["by_chance"] for row in rows}
    ax.plot(list(chance), list(chance.values()), color=GREY, lw=1, ls=":", label="by chance, K / M")
    shown = []
    for place, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        points: dict[float, list[float]] = defaultdict(list)
        for row in rows:
            if row["method"] == method:
                points[row["labels"]].append(row["share"])
        band(ax, points, method, place)
        shown.append({"share of K": method, **_means(points)})
    shown.append({"share of K": "by chance", **{str(at): share for at, share in chance.items()}})
    legend(ax)
    results.figure("gradnorm_table1", figure)
    results.table("gradnorm_table1", rows, shown)


def _means(points: dict[float, list[float]]) -> Row:
    return {str(at): float(np.mean(values)) for at, values in points.items()}


def table_3(results: Results, studies: Sequence[Study]) -> None:
    """The generalisation gap after each training."""
    rows = [gap(study, cycle) for study in studies for cycle in study.trained]
    points: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        points[row["labels"]].append(row["gap"])
    figure, ax = panel("Generalisation gap", "Labels", "Train - test accuracy (points)")
    band(ax, points, studies[0].x.strategy.part_name(), 0)
    results.figure("gradnorm_table3", figure)
    results.table("gradnorm_table3", rows)


def gap(study: Study, cycle: int) -> Row:
    """Accuracies in %, and their difference. Labels are the oracle's; the test is the run's own."""
    network, labels = study.network(cycle), study.labeled(cycle)

    def predicted(images: Tensor, truth: Tensor) -> Tensor:
        logits: Tensor = network(images).logits
        return logits.argmax(1)

    right = study.per_unit(list(labels), predicted) == np.array(list(labels.values()))
    test = 100 * study.evaluated(cycle, "accuracy")
    train = 100 * float(right.mean())
    key = {"seed": study.x.seed, "cycle": cycle, "labels": len(labels)}
    return {**key, "train_accuracy": train, "test_accuracy": test, "gap": train - test}


def main(
    runs: analysis.Runs,
    out: analysis.Out = Path("analysis"),
    norm: Annotated[Norm, typer.Option(help="The norm of both sides of Table 1.")] = "global",
    tracking: analysis.Tracking = None,
    no_tracking: analysis.NoTracking = False,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """What scores have in common with true gradient norms, and how far training overfits."""
    studies, results = analysis.open_studies(runs, plugins), Results(out)
    analysis.alike(studies)
    table_1(results, studies, norm)
    table_3(results, studies)
    results.send([study.record for study in studies], tracking, no_tracking)


if __name__ == "__main__":
    analysis.launch(main)
