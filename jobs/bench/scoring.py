"""How fast the scoring pass is: against a plain loop, with many strategies, and for COD.

    python jobs/bench/scoring.py [--units 4096] [--runs 5] [--out report]

The pool is generated (32 x 32 images), the model a ResNet-18 of width 32. Three questions:
- the pass per image, start-up apart, against a plain PyTorch loop over images in memory, both on
  all cores. Start-up is the intercept of the pass's time over two sizes of the pool;
- six strategies in one pass against the dearest of them alone;
- COD from its second cycle on (whole pool) against entropy.
The last two run in this process, where nothing but the work is timed.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark import Row, alternate, median_ratio, write
from scoring_pass import ScoringPass

from rayal.cycle.engine import Engine
from rayal.engine import cluster, start
from rayal.engine.local import LocalEngine

SIX = ["entropy", "margin", "least_confidence", "most_confident", "random", "cod"]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        passes = ScoringPass(Path(scratch), options.units)
        rows = [one_pass_serves_six(passes, options.runs), cod(passes, options.runs)]
        rows.insert(0, pass_against_loop(passes, options.runs))
    write("bench_scoring", rows, options.out)


def pass_against_loop(passes: ScoringPass, runs: int) -> Row:
    cores = start.connect(None)
    engine = cluster.RayEngine(passes.experiment("entropy").compute, cores)
    small, large = passes.units, 4 * passes.units
    seconds = alternate(
        runs,
        small=lambda: passes.score(engine, small, "entropy"),
        large=lambda: passes.score(engine, large, "entropy"),
        loop=lambda: passes.plain_loop(large),
    )
    start.disconnect()
    per_image = [
        (b - a) / (large - small) for a, b in zip(seconds["small"], seconds["large"], strict=True)
    ]
    loop = [t / large for t in seconds["loop"]]
    start_up = statistics.median(
        t - small * each for t, each in zip(seconds["small"], per_image, strict=True)
    )
    return Row(
        "scoring pass, images per second, start-up apart",
        "plain PyTorch loop, same cores",
        median_ratio(loop, per_image),
        "at least 0.9 x",
        f"{1 / statistics.median(per_image):.0f} against {1 / statistics.median(loop):.0f}"
        f" images/s; start-up of a pass {start_up:.1f} s",
    )


def one_pass_serves_six(passes: ScoringPass, runs: int) -> Row:
    engine = _local(passes)
    passes.kept = passes.score(engine, passes.units, "cod")
    seconds = alternate(
        runs,
        six=lambda: passes.score(engine, passes.units, *SIX, cycle=1),
        **{name: _alone(passes, engine, name) for name in SIX},
    )
    dearest = max(SIX, key=lambda name: statistics.median(seconds[name]))
    return Row(
        "six strategies in one pass",
        f"the dearest alone ({dearest})",
        median_ratio(seconds["six"], seconds[dearest]),
        "at most 1.3 x",
        f"{statistics.median(seconds['six']):.2f} s against"
        f" {sum(statistics.median(seconds[name]) for name in SIX):.2f} s in six passes",
    )


def cod(passes: ScoringPass, runs: int) -> Row:
    engine = _local(passes)
    seconds = alternate(
        runs,
        cod=_alone(passes, engine, "cod"),
        entropy=_alone(passes, engine, "entropy"),
    )
    return Row(
        "COD from the second cycle on, whole pool",
        "entropy",
        median_ratio(seconds["cod"], seconds["entropy"]),
        "at most 1.15 x",
        "one forward: the last pass kept its predictions",
    )


def _alone(passes: ScoringPass, engine: Engine, name: str) -> Callable[[], str]:
    return lambda: passes.score(engine, passes.units, name, cycle=1)


def _local(passes: ScoringPass) -> LocalEngine:
    return LocalEngine(passes.experiment("entropy").compute)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--units", type=int, default=4096, help="images of the smaller pool")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
