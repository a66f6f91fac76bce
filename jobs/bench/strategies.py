"""How fast strategies are: against the same work as it is usually written, and other libraries.

    python jobs/bench/strategies.py [--only core_set,badge] [--runs 5] [--threads N] [--small]
                                    [--data FOLDER] [--device cuda] [--out report]

A ratio is the median over runs made in turn, after one warm-up of each side; memory is what a call
adds to a fresh process at its peak. `--small` shows whether all works: its ratios mean nothing.
Other libraries (lightly-mundig, scikit-activeml, baal) take part where they are installed, best by
`pip install --no-deps --target FOLDER` and PYTHONPATH. Only `gradnorm` uses a GPU.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import Row, Rows, parser, run
from peer_rows import peers
from racing import use_threads
from scoring_rows import cod, epmcm, gradnorm, six
from selection_rows import badge, core_set, topk
from vector_rows import vectors

from rayal.engine.machine import cores

ROWS: Rows = {
    row.__name__: row for row in (gradnorm, epmcm, cod, six, vectors, core_set, badge, topk, peers)
}

PASS = {"images": 32, "width": 4, "batch": 16}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "gradnorm": {"width": 4, "batch": 4},
    "epmcm": PASS,
    "cod": PASS,
    "six": PASS,
    "vectors": {"units": 300, "width": 8, "classes": 5},
    "core_set": {"units": 400, "labeled": 40, "picks": 20},
    "badge": {"units": 300, "classes": 10, "width": 32, "picks": 200, "dense": 250},
    "topk": {"units": 20_000, "picks": 50},
    "peers": {"units": 200, "picks": 10},
}
"""In place of the sizes of the speed table, which are the defaults of each row."""


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    options = _options(arguments)
    use_threads(options.threads)
    return run("bench_strategies", ROWS, SMALL, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__, ROWS)
    options.add_argument("--threads", type=int, default=cores(), help="of both sides")
    options.add_argument("--data", type=Path, default=Path("data"), help="cifar10_train.parquet")
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of gradnorm")
    return options.parse_args(arguments)


if __name__ == "__main__":
    main()
