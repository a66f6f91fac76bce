"""What benchmarks share: repeated timing, options, and results as JSON and as a Markdown table."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One line of the speed table."""

    what: str
    against: str
    ratio: float
    target: str
    detail: str


Rows = Mapping[str, Callable[..., list[Row]]]
"""What a benchmark measures, by the name of `--only`; each takes the options, and its own sizes."""


def alternate(runs: int, **sides: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each side, run in turn after one warm-up each: drift of the machine hits all."""
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the ratios of runs made next to each other."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def conditions() -> str:
    """What every ratio has to be read with."""
    return f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"


def run(
    name: str, known: Rows, small: Mapping[str, Mapping[str, Any]], options: argparse.Namespace
) -> list[Row]:
    """Measures `options.only`, at the sizes in `small` if asked to, and writes the results."""
    rows: list[Row] = []
    for each in options.only:
        print(f"{each}: starts", flush=True)
        for row in known[each](options, **(small[each] if options.small else {})):
            rows.append(replace(row, detail=f"{row.detail}; {conditions()}"))
            print(f"{each}: {row.what}, against {row.against}: {row.ratio:.2f} x", flush=True)
    whole = options.only == list(known)
    write("-".join([name, *([] if whole else options.only)]), rows, options.out)
    return rows


def parser(doc: str | None, known: Rows) -> argparse.ArgumentParser:
    """With the options of every benchmark."""

    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return found

    made = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    made.add_argument("--only", type=names, default=list(known), help=f"of {', '.join(known)}")
    made.add_argument("--runs", type=int, default=5, help="counted runs of each side")
    made.add_argument("--small", action="store_true", help="tiny sizes, to try it")
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return made


def write(name: str, rows: Sequence[Row], out: Path) -> None:
    """Writes `<name>.json` and `<name>.md` into `out`, and prints the table."""
    where = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }
    lines = ["| what | against | measured | target | detail |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.what} | {r.against} | {r.ratio:.2f} x | {r.target} | {r.detail} |" for r in rows
    ]
    table = "\n".join(lines) + f"\n\n{json.dumps(where)}\n"
    out.mkdir(parents=True, exist_ok=True)
    results = {"where": where, "rows": [asdict(row) for row in rows]}
    (out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / f"{name}.md").write_text(table)
    print(table)


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    return subprocess.run(git, cwd=here, capture_output=True, text=True).stdout.strip() or "unknown"
