"""What a sweep adds to its trials: twelve on the digits, against the same runs one after the other.

    python jobs/bench/sweep.py [--runs 3] [--epochs 40] [--out report]

The sweep is the command of users, `rayal sweep`, from start to end: imports, the processes of its
trials, the tables and curves at the end. On the other side is a process that makes the same runs,
each with the threads that a trial has; what it takes, over the cores, is what the sweep could
take if nothing but trials took time, and cores did not slow each other down. By how much they do
is seen of such processes side by side, one for each core, that share the runs.

No first training is shared, and nothing is tracked.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmark import Row, alternate, median_ratio, write

from rayal.engine import machine
from rayal.experiment import config
from rayal.experiment.sweep.settings import SweptExperiment

STRATEGIES = ["random", "entropy", "margin", "cod"]
SEEDS = [0, 1, 2]
DEMO = Path(__file__).parents[2] / "rayal" / "examples" / "digits.yaml"


def main() -> None:
    options = _options()
    if options.alone:
        x = config.load_as(SweptExperiment, options.alone)
        _alone(x, slice(*(int(each or 0) or None for each in options.part.split(":"))), options.out)
        sys.stdout.flush()
        os._exit(0)  # as the command does it, which does not wait for modules to be unloaded
    cores = machine.cores()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = folder / "swept.yaml"
        file.write_text(config.dump(_experiment(options.epochs)))
        command = [sys.executable, "-m", "rayal", "sweep", str(file)]
        alone = [sys.executable, __file__, "--alone", str(file), "--part"]
        sides = {
            "sweep": [command],
            "alone": [[*alone, "::"]],
            "beside": [[*alone, f"{core}::{cores}"] for core in range(cores)],
        }
        seconds = alternate(
            options.runs,
            **{side: partial(_side, told, folder / side) for side, told in sides.items()},
        )
    write("bench_sweep", _rows(seconds, cores), options.out)


def _rows(seconds: dict[str, list[float]], cores: int) -> list[Row]:
    what = f"a sweep of {len(STRATEGIES) * len(SEEDS)} digits trials, whole"
    best = {side: min(each) for side, each in seconds.items()}
    ideal = [each / cores for each in seconds["alone"]]
    return [
        Row(
            what,
            "the trials one after the other, over the cores",
            median_ratio(seconds["sweep"], ideal),
            "at most 1.2 x",
            f"{best['sweep']:.1f} s, everything included, against {best['alone']:.1f} s on one"
            f" core; {cores} cores; best of each",
        ),
        Row(
            what,
            "the trials in a process for each core, side by side",
            median_ratio(seconds["sweep"], seconds["beside"]),
            "",
            f"{best['sweep']:.1f} s against {best['beside']:.1f} s, best of each",
        ),
    ]


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--runs", type=int, default=3, help="counted runs of each side")
    made.add_argument("--epochs", type=int, default=40, help="of each training")
    made.add_argument("--alone", type=Path, help="make the runs of this file, in this process")
    made.add_argument("--part", default="::", help="of them, as a slice")
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return made.parse_args()


def _side(commands: list[list[str]], place: Path) -> None:
    """These commands at once, to their ends."""
    outs = [str(place / f"{time.monotonic_ns()}-{number}") for number, _ in enumerate(commands)]
    begun = [
        subprocess.Popen([*told, "--out", out], stdout=subprocess.DEVNULL)
        for told, out in zip(commands, outs, strict=True)
    ]
    if any([process.wait() for process in begun]):
        sys.exit("a side of the benchmark has failed")


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


def _alone(x: SweptExperiment, part: slice, out: Path) -> None:
    from rayal.engine.local import LocalEngine
    from rayal.workflows.run import start_run
    from rayal.workflows.sweep.sweeping import start_sweep

    with start_sweep(x, str(out / "listed")) as opened:
        experiments = [trial.experiment for trial in opened.listed]
    for number, each in enumerate(experiments[part]):
        with start_run(each, str(out / f"run-{number}")) as run:
            run.run(partial(closing, LocalEngine(each.compute)))


if __name__ == "__main__":
    main()
