"""What a sweep adds to its trials: twelve on the digits, against the same runs one after the other.

    python jobs/bench/sweep.py [--runs 3] [--epochs 40] [--out report]

The runs on the other side are made in one process that has imported everything, each with the
threads that a trial has; what they take together, over the cores, is what the sweep could take if
nothing but trials took time. Its own time has everything in it: the trials' processes, the tables
and curves at the end. No first training is shared, and nothing is tracked.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from benchmark import Row, alternate, median_ratio, write

from rayal.engine import machine
from rayal.engine.local import LocalEngine
from rayal.experiment import config
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.runs.events import Observers
from rayal.workflows.run import start_cluster, start_run
from rayal.workflows.sweep.sweeping import start_sweep

STRATEGIES = ["random", "entropy", "margin", "cod"]
SEEDS = [0, 1, 2]
DEMO = Path(__file__).parents[2] / "rayal" / "examples" / "digits.yaml"


def main() -> None:
    options = _options()
    if options.side:
        SIDES[options.side](_experiment(options.epochs), options.out)
        return
    cores = machine.cores()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seconds = alternate(
            options.runs,
            **{side: partial(_in_a_process, side, options.epochs, folder) for side in SIDES},
        )
    ideal = [each / cores for each in seconds["alone"]]
    swept, alone = min(seconds["sweep"]), min(seconds["alone"])
    detail = (
        f"{swept:.1f} s, everything included, against {alone:.1f} s on one core; {cores} cores;"
        " best of each"
    )
    trials = len(STRATEGIES) * len(SEEDS)
    row = Row(
        f"a sweep of {trials} digits trials, whole",
        "the trials one after the other, over the cores",
        median_ratio(seconds["sweep"], ideal),
        "at most 1.2 x",
        detail,
    )
    write("bench_sweep", [row], options.out)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--runs", type=int, default=3, help="counted runs of each side")
    made.add_argument("--epochs", type=int, default=40, help="of each training")
    made.add_argument("--side", choices=[*SIDES], help="do this once, in this process")
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return made.parse_args()


def _in_a_process(side: str, epochs: int, folder: Path) -> None:
    """One side as a command does it, imports included: what a process has trained before slows the
    sweep that it starts."""
    out = folder / f"{side}-{time.monotonic_ns()}"
    told = [sys.executable, __file__, "--side", side, "--epochs", str(epochs), "--out", str(out)]
    subprocess.run(told, check=True)


def _experiment(epochs: int) -> SweptExperiment:
    return config.load_as(
        SweptExperiment,
        DEMO,
        fields={
            "compute": {"engine": "local", "cpus_per_worker": 1},
            "scheme": {"epochs": epochs},
            "tracking": "none",
            "sweep": {
                "space": {"strategy": {"grid_search": STRATEGIES}},
                "seeds": SEEDS,
                "share_first_cycle": False,
            },
        },
    )


def _sweep(x: SweptExperiment, out: Path) -> None:
    with start_sweep(x, str(out)) as opened:
        opened.run(partial(start_cluster, None), Observers([]))


def _alone(x: SweptExperiment, out: Path) -> None:
    with start_sweep(x, str(out / "listed")) as opened:
        experiments = [trial.experiment for trial in opened.listed]
    for number, each in enumerate(experiments):
        with start_run(each, str(out / f"run-{number}")) as run:
            run.run(lambda x=each: nullcontext(LocalEngine(x.compute)))


SIDES = {"sweep": _sweep, "alone": _alone}

if __name__ == "__main__":
    main()
