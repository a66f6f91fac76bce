"""How fast strategies are: against the same work as it is usually written, and other libraries.

    python jobs/bench_strategies.py [--only core_set,badge] [--runs 5] [--threads N] [--small]
                                    [--data FOLDER] [--device cuda] [--out report]

A ratio is the median over runs made in turn, after one warm-up of each side; memory is what a call
adds to a fresh process at its peak. `--small` shows whether all works: its ratios mean nothing.
Other libraries (lightly-mundig, scikit-activeml, baal) take part where they are installed, best by
`pip install --no-deps --target FOLDER` and PYTHONPATH. Only `gradnorm` uses a GPU.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark import Row, write
from peer_rows import peers
from racing import conditions, use_threads
from scoring_rows import cod, epmcm, gradnorm, six
from selection_rows import badge, core_set, topk

from rayal.machine import cores

ROWS: Mapping[str, Callable[..., list[Row]]] = {
    row.__name__: row for row in (gradnorm, epmcm, cod, six, core_set, badge, topk, peers)
}

PASS = {"images": 32, "width": 4, "batch": 16}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "gradnorm": {"width": 4, "batch": 4},
    "epmcm": PASS,
    "cod": PASS,
    "six": PASS,
    "core_set": {"units": 400, "labeled": 40, "picks": 20},
    "badge": {"units": 300, "classes": 10, "width": 32, "picks": 200, "dense": 250},
    "topk": {"units": 20_000, "picks": 50},
    "peers": {"units": 200, "picks": 10},
}
"""In place of the sizes of the speed table, which are the defaults of each row."""


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    options = _options(arguments)
    use_threads(options.threads)
    rows: list[Row] = []
    for name in options.only:
        print(f"{name}: starts", flush=True)
        for row in ROWS[name](options, **(SMALL[name] if options.small else {})):
            rows.append(replace(row, detail=f"{row.detail}; {conditions()}"))
            print(f"{name}: {row.what}, against {row.against}: {row.ratio:.2f} x", flush=True)
    whole = options.only == list(ROWS)
    write("-".join(["bench_strategies", *([] if whole else options.only)]), rows, options.out)
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", type=_names, default=list(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    parser.add_argument("--threads", type=int, default=cores(), help="of both sides")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try it")
    parser.add_argument("--data", type=Path, default=Path("data"), help="cifar10_train.parquet")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of gradnorm")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(ROWS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    main()
