"""How often random selection is called better, or worse, than random selection.

    python jobs/analyse/error_rates.py [--seeds 10] [--draws 6] [--comparisons 200] [--out DIR]

Runs of the digits' pixels as frozen features, under a linear head: for each seed some that share
their first labels and first model, and draw what follows at random, each in its own way. Two draws
of each of five seeds are two arms that nothing distinguishes; `rayal.report` judges them, as in any
report. Of its verdicts, whatever is not `not separated` is an error: at most 5 % should be one, and
half of these `better`. With `--arms 5` each comparison has so many beside random, and Holm's
correction to do.

The comparisons share runs, so what they say is less certain than so many independent ones would be.
Runs that are there already are not made again. Two seconds a run on one core.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import typer
from scipy import stats
from torch import Tensor

import rayal
from rayal.report.groups import BASELINE, group
from rayal.report.runs import Run
from rayal.report.verdicts import verdicts
from rayal.runs.find_records import find_records
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy

SEEDS = 5
"""Of one comparison."""


class Drawn(Strategy):
    """A uniform random order of the pool, another one for each draw."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"noise"})

    draw: int = 0
    """Number of the draw, from 0."""

    def score(self, s: Signals) -> Tensor:
        return (s.noise.double() * (1 + 997 * self.draw)) % 1


def write_features(folder: Path) -> None:
    """The digits of scikit-learn as vectors of 64 pixels: 1,437 for the pool, 360 for the test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("pool", order[360:]), ("test", order[:360])):
        ids = np.array([f"digit-{row:04d}" for row in rows])
        vectors, labels = digits.data[rows].astype(np.float32), digits.target[rows]
        np.savez(folder / f"{name}.npz", id=ids, features=vectors, label=labels)


def make_runs(out: Path, seeds: int, draws: int, epochs: int) -> None:
    """Runs from 50 to 300 labels in six cycles; complete ones stay."""
    features = out / "features"
    if not (features / "test.npz").exists():
        write_features(features)
    for seed in range(seeds):
        for draw in range(draws):
            x = rayal.Experiment(
                name="alike",
                seed=seed,
                dataset={
                    "name": "features",
                    "root": str(features),
                    "pool": "pool.npz",
                    "test": "test.npz",
                },
                model="linear_head",
                scheme={"name": "supervised", "epochs": epochs, "batch_size": 32, "lr": 0.02},
                strategy=Drawn(draw=draw),
                budget={"initial": 50, "per_cycle": 50, "total": 300},
                compute={"engine": "local", "cpus_per_worker": 1},
                keep={"weights": "last", "shards": "last"},
                tracking="none",
            )
            rayal.run(x, out / "runs" / f"seed-{seed}-draw-{draw}")


def read_runs(out: Path) -> dict[int, list[Run]]:
    """Of each seed its runs, one for each draw."""
    found: dict[int, list[Run]] = {}
    for record in find_records([str(out / "runs")]):
        run = Run.read(record)
        found.setdefault(run.seed, []).append(replace(run, settings={}, beside={}))
    return found


def judge(
    runs: Mapping[int, list[Run]], comparisons: int, arms: int, rng: np.random.Generator
) -> list[list[str]]:
    """What the verdicts of each comparison are: of arms that are alike, against random."""
    said = []
    for _ in range(comparisons):
        chosen = list[Run]()
        for seed in rng.choice([*runs], SEEDS, replace=False):
            drawn = rng.permutation(len(runs[seed]))[: arms + 1]
            names = [BASELINE, *(f"alike_{number}" for number in range(arms))]
            chosen += [
                replace(runs[seed][draw], strategy=name)
                for draw, name in zip(drawn, names, strict=True)
            ]
        (only,) = group(chosen)
        said.append([each.kind for each in verdicts(only)])
    return said


def told(said: list[list[str]]) -> list[str]:
    """The rates in words, with 95 % intervals as if comparisons were independent."""
    lines = []
    for what, kinds in (("better", {"better"}), ("better or worse", {"better", "worse"})):
        count = sum(bool(kinds & {*each}) for each in said)
        low, high = stats.binomtest(count, len(said)).proportion_ci()
        rate = f"{count / len(said):.1%} ({low:.1%} to {high:.1%})".replace("%", " %")
        lines.append(f"{what}: {count} of {len(said)} comparisons, {rate}")
    kinds = Counter(kind for each in said for kind in each)
    return [*lines, "verdicts: " + ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))]


def main(
    seeds: Annotated[int, typer.Option(min=SEEDS, help="Seeds, of which each takes five.")] = 10,
    draws: Annotated[int, typer.Option(min=2, help="Runs of each seed.")] = 6,
    comparisons: Annotated[int, typer.Option(min=1, help="How many are judged.")] = 200,
    arms: Annotated[int, typer.Option(min=1, help="Arms of each beside random.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 40,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("runs/error_rates"),
) -> None:
    """How often the report finds a difference where there is none."""
    make_runs(out, seeds, max(draws, arms + 1), epochs)
    for line in told(judge(read_runs(out), comparisons, arms, np.random.default_rng(0))):
        print(line)


if __name__ == "__main__":
    typer.run(main)
