"""How fast and how large `rayal score` and `rayal select` are, on pools that are generated here.

    python jobs/bench/pool.py [--only decode_bound,memory] [--units 1024] [--runs 5] [--small]
                              [--large] [--photos FOLDER] [--out report]

Images per second are those of a whole pass, start-up apart: of all sides alike the slope between a
pool and one four times as large. They are compared with a plain PyTorch loop (pixels in memory, or
a DataLoader with two workers that decodes as rayal does) and with Ray Data's bare map_batches.
Ratios are medians over runs made in turn, after one warm-up of each side; memory is what a call
adds to a fresh process at its peak. Only the CPU works. `--small` shows whether all works: its
numbers mean nothing.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmark import Row, Rows, median_ratio, parser, run
from pool_cases import Case, photos, raw
from pool_passes import column, pass_work
from pool_rows import core_set, costs, driver, memory, slopes, top_k
from racing import Race, growth, race

from rayal.engine import start

BATCH = 256
"""Of all sides, and the rows of a shard: as many as in those of a small pool."""


def model_bound(options: argparse.Namespace, width: int = 32, batch: int = BATCH) -> list[Row]:
    """Pixels that need no decoding."""
    with raw(options, width, batch) as case:
        return _throughput(case, options.runs, "at least 0.9 x")


def decode_bound(options: argparse.Namespace, width: int = 1, batch: int = BATCH) -> list[Row]:
    """Photographs, and hardly a model."""
    with photos(options, width, batch) as case:
        return _throughput(case, options.runs, "at least 1 x")


def scaling(options: argparse.Namespace, width: int = 32, batch: int = BATCH) -> list[Row]:
    """Of Ray's actors, one thread each."""
    with raw(options, width, batch) as case, _cluster() as cores, ExitStack() as stack:
        sides = {
            f"actors{n}": stack.enter_context(case.rayal("ray", cores, scorers=n)) for n in (1, 2)
        }
        rates = Rates(case, options.runs, sides)
    what = f"{case.what}: 2 scoring actors"
    return [
        Row(
            what,
            "1 actor",
            rates.times("actors2", "actors1"),
            "none",
            rates.said("actors2", "actors1"),
        )
    ]


def _throughput(case: Case, runs: int, target: str) -> list[Row]:
    with _cluster() as cores, case.rayal("local", cores) as local, case.rayal("ray", cores) as ray:
        bare = partial(case.bare, cores=cores)
        rates = Rates(case, runs, {"local": local, "ray": ray, "loop": case.loop, "bare": bare})
    rates.check()
    rows = []
    for engine, others in (("local", ("loop",)), ("ray", ("loop", "bare"))):
        settings = [case.settings(size, engine) for size in reversed(case.sizes)]
        megabytes, _, workers = growth(
            f"{case.what}, {engine}", 1, pass_work, *settings, str(case.folder)
        )
        beside = f" and {workers:.0f} MB of a worker in all" if workers else ""
        for other in others:
            rows.append(
                Row(
                    f"{case.what}: images per second, engine {engine}",
                    AGAINST[other],
                    rates.times(engine, other),
                    target if other == "loop" else "none",
                    f"{rates.said(engine, other)}; peak memory {megabytes:.0f} MB{beside}",
                )
            )
    return rows


AGAINST = {
    "loop": "plain PyTorch loop",
    "bare": "Ray Data's bare map_batches, as many actors",
}


class Rates:
    """Sides that score the pools of a case, in turn, and how long an image takes each."""

    def __init__(self, case: Case, runs: int, sides: Mapping[str, Callable[[int], Any]]) -> None:
        self.large = max(case.sizes)
        few, many = case.sizes
        self.ran: Race = race(
            case.what,
            runs,
            **{
                f"{n} {size}": partial(side, size)
                for n, side in sides.items()
                for size in case.sizes
            },
        )
        seconds = self.ran.seconds
        self.start_up: dict[str, float] = {}
        self.per_image = {
            n: slopes(seconds[f"{n} {few}"], seconds[f"{n} {many}"], many - few) for n in sides
        }
        self.start_up = {
            n: median(
                t - few * each
                for t, each in zip(seconds[f"{n} {few}"], self.per_image[n], strict=True)
            )
            for n in sides
        }

    def times(self, fast: str, slow: str) -> float:
        return median_ratio(self.per_image[slow], self.per_image[fast])

    def said(self, *sides: str) -> str:
        rates = " against ".join(f"{1 / median(self.per_image[n]):.0f}" for n in sides)
        ups = " against ".join(f"{self.start_up[n]:.1f}" for n in sides)
        return f"{rates} images/s; start-up {ups} s"

    def check(self) -> None:
        """Asserts that all sides have found the same scores."""
        found = {n: self.ran.results[f"{n} {self.large}"] for n in self.per_image}
        expected = np.sort(found["loop"])
        for name, scores in found.items():
            scores = column(scores, "score.entropy") if isinstance(scores, str) else scores
            np.testing.assert_allclose(np.sort(scores), expected, atol=1e-4, err_msg=name)


@contextmanager
def _cluster() -> Iterator[int]:
    """On this machine; its cores."""
    try:
        yield start.connect("local")
    finally:
        start.disconnect()


ROWS: Rows = {
    row.__name__: row
    for row in (model_bound, decode_bound, scaling, memory, top_k, core_set, costs, driver)
}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "model_bound": {"width": 1, "batch": 8},
    "decode_bound": {"width": 1, "batch": 8},
    "scaling": {"width": 1, "batch": 8},
    "memory": {"sizes": (40, 80)},
    "top_k": {"units": 2_000, "picks": 50},
    "core_set": {"sizes": (200, 400), "width": 16, "picks": 5},
    "costs": {"rows": 600, "files": 50},
    "driver": {"shards": 2, "rows": 4},
}
"""In place of the sizes that are meant, which are the defaults of each row."""


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    options = _options(arguments)
    return run("bench_pool", ROWS, SMALL, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__, ROWS)
    options.add_argument("--units", type=int, default=1024, help="images of the smaller pool")
    options.add_argument("--photos", type=Path, help="folder of JPEGs, in place of drawn ones")
    options.add_argument("--large", action="store_true", help="core-set of 1,000,000 units, too")
    return options.parse_args(arguments)


if __name__ == "__main__":
    main()
