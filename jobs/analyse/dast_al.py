"""How far the score of EPMCM is from what it stands for: Table 2 of DAST-AL (ECCV 2022).

    python jobs/analyse/dast_al.py RUN [--cycle N] [--units N] [--chosen] [--out DIR]

RUN is a run that kept `class_statistics`: scheme `isda`, or strategy or observer `epmcm`. The table
has the gap between the bound of Eq. 7, in closed form, and a mean over drawn features, in two
readings of what the paper leaves open:

- `gap_to_change`: bound - mean of 1 - p_y, which is Eq. 6. The looseness of the bound: more draws
  take noise out of it, and leave it where it is.
- `gap_to_bound`: |bound - (mean of 1/p_y - 1)|. The error of drawing the bound itself, which
  shrinks with the draws. Only this one can give what the paper prints, in which the gap shrinks
  from 0.85 to 0.11; so its table does not show that the bound is tight.

Draws are of logits: those of a feature from N(a, S_y) are normal, of covariance W S_y W^T, which is
C C where the features' is D D. N units, C classes, D features, S draws at a time; y is the
predicted class. All in float64; no labels are read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import analysis
import numpy as np
import torch
import typer
from analysis import Results, Row, Study
from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.models.companions.class_statistics import (
    ClassStatistics,
    ClassStatisticsSpec,
    epmcm_log_scores,
    quadratic_terms,
)
from rayal.models.weights import load_weights
from rayal.randomness import torch_generator
from rayal.report.drawing import COLOURS, GREY
from rayal.report.panels import legend, panel
from rayal.runs.ledger import stage_folder
from rayal.runs.results import Trained
from rayal.storage.stage_file import FileLocation

DRAWS = (100, 1_000, 10_000, 100_000)
PRINTED = {100: (0.85, 0.49), 1_000: (0.57, 0.34), 10_000: (0.35, 0.10), 100_000: (0.11, 0.07)}
"""Table 2 by draws: mean and standard deviation over 1,000 units, ResNet-18 on CIFAR-10."""
BLOCK = 2**22
"""Elements of the largest tensor of draws: 32 MiB."""


def statistics_of(study: Study, cycle: int, network: nn.Module) -> ClassStatistics:
    """What the features of a cycle's training were, by class."""
    specs = (each for each in study.x.companions() if isinstance(each, ClassStatisticsSpec))
    spec = next(specs, None)
    if spec is None:
        raise UsageError(
            f"{study.url} kept no class statistics; analyse a run of scheme isda or strategy epmcm"
        )
    statistics = spec.build(network, len(study.store.card.classes), nn.Identity)
    trained = study.record.result(cycle, Trained)
    assert trained is not None, f"cycle {cycle} is evaluated"
    file = trained.companions[spec.name]
    folder = stage_folder(study.record.folder, cycle, "train")
    load_weights(statistics, FileLocation(folder.url, file).read())
    return statistics


def factor(weight: Tensor, covariance: Tensor) -> Tensor:
    """F (C C) of one class, with which F e of a standard normal e (C) has covariance W S W^T.

    `covariance` is D or D D. By eigenvalues, for the matrix may be singular.
    """
    spread = weight * covariance if covariance.dim() == 1 else weight @ covariance
    values, vectors = torch.linalg.eigh(spread @ weight.T)
    return vectors * values.clamp(min=0).sqrt()


def drawn(
    logits: Tensor, label: int, moves: Tensor, draws: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Means over the first so many draws of 1 - p_y and of 1/p_y - 1: len(draws) 2 N.

    Units of one class: `logits` N C, `moves` their factor. 1/p_y = sum_j exp(z_j - z_y).
    """
    apart, moves = logits - logits[:, label, None], moves - moves[label]
    size = max(1, BLOCK // logits.numel())
    sums, done, means = logits.new_zeros(2, len(logits)), 0, []
    for until in draws:
        while done < until:
            count = min(size, until - done)
            normal = torch.randn(count, *logits.shape, generator=generator, dtype=logits.dtype)
            inverse = (apart + normal @ moves.T).exp().sum(2)  # S N C -> S N
            sums += torch.stack([(1 - 1 / inverse).sum(0), (inverse - 1).sum(0)])
            done += count
        means.append(sums / done)
    return torch.stack(means)


def gaps(
    logits: Tensor, weight: Tensor, statistics: ClassStatistics, draws: Sequence[int], seed: int
) -> Tensor:
    """Both gaps of each unit after so many draws: len(draws) 2 N. Takes float64."""
    bounds = epmcm_log_scores(logits, quadratic_terms(weight, statistics)).expm1()
    means = logits.new_empty(len(draws), 2, len(logits))
    predicted = logits.argmax(dim=1)
    for label in predicted.unique().tolist():
        own = predicted == label
        moves = factor(weight, statistics.covariances[label])
        generator = torch_generator(seed, "draws", label)
        means[:, :, own] = drawn(logits[own], label, moves, draws, generator)
    found = bounds - means
    found[:, 1].abs_()
    return found


def gaps_of(study: Study, cycle: int, ids: Sequence[str], draws: Sequence[int]) -> Tensor:
    """`gaps` of these units of a run's pool, under a cycle's network."""
    network = study.network(cycle)
    last = network.classifier
    assert isinstance(last, nn.Linear)

    def predict(images: Tensor, _: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = network(images).logits
        return logits

    logits = torch.from_numpy(study.per_unit(ids, predict))
    statistics = statistics_of(study, cycle, network).double()
    weight = last.weight.detach().double().cpu()
    return gaps(logits, weight, statistics, draws, study.x.seed)


def table(found: Tensor, draws: Sequence[int]) -> list[Row]:
    """Mean and standard deviation over the units, for each number of draws."""
    means, deviations = found.mean(2).tolist(), found.std(2).tolist()
    return [
        {
            "draws": count,
            "gap_to_change": mean[0],
            "gap_to_change_sd": deviation[0],
            "gap_to_bound": mean[1],
            "gap_to_bound_sd": deviation[1],
            "printed": PRINTED.get(count, (None, None))[0],
            "printed_sd": PRINTED.get(count, (None, None))[1],
        }
        for count, mean, deviation in zip(draws, means, deviations, strict=True)
    ]


NAMES = {
    "gap_to_change": "bound - drawn change (Eq. 6)",
    "gap_to_bound": "|bound - drawn bound|",
    "printed": "printed in the paper",
}


def draw(results: Results, rows: Sequence[Row], title: str) -> None:
    """Mean and standard deviation against draws, side by side."""
    figure, ax = panel(title, "Draws", "Gap, mean and sd over units")
    for place, (name, label) in enumerate(NAMES.items()):
        colour = GREY if name == "printed" else COLOURS[place]
        shown = [row for row in rows if row[name] is not None]
        x = np.array([row["draws"] for row in shown]) * 1.1 ** (place - 1)
        mean, deviation = ([row[key] for row in shown] for key in (name, f"{name}_sd"))
        ax.errorbar(
            x, mean, deviation, fmt="o-", color=colour, lw=1.6, ms=4, capsize=3, label=label
        )
    ax.set_xscale("log")
    legend(ax)
    results.figure("dast_table2", figure)


def main(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    cycle: Annotated[int | None, typer.Option(help="Its last finished pass if not given.")] = None,
    units: Annotated[int, typer.Option(min=2, help="How many, at random.")] = 1000,
    chosen: Annotated[bool, typer.Option("--chosen", help="Of those chosen, not scored.")] = False,
    out: analysis.Out = Path("analysis"),
    tracking: analysis.Tracking = None,
    no_tracking: analysis.NoTracking = False,
    plugins: analysis.Packages = [],  # noqa: B006 (typer reads the default, nobody changes it)
) -> None:
    """The gap between the score of EPMCM and its means over draws: Table 2 of DAST-AL."""
    studies = analysis.open_studies([run], plugins)
    if len(studies) > 1:
        raise UsageError(f"{run} holds {len(studies)} runs; give one of them")
    study, results = studies[0], Results(out)
    at = study.passes[-1] if cycle is None else cycle
    every = study.picks(at) if chosen else next(iter(study.columns(at).values())).ids
    places = np.random.default_rng(study.x.seed).permutation(len(every))[:units]
    ids = [str(every[place]) for place in np.sort(places)]
    rows = table(gaps_of(study, at, ids, DRAWS), DRAWS)
    results.table("dast_table2", rows)
    kind = "chosen" if chosen else "scored"
    draw(results, rows, f"{len(ids)} of the units {kind} in cycle {at}")
    results.send([study.record], tracking, no_tracking)


if __name__ == "__main__":
    analysis.launch(main)
