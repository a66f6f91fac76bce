"""What all benchmarks share: repeated timing, and results as JSON and as a Markdown table."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Row:
    """One line of the speed table."""

    what: str
    against: str
    ratio: float
    target: str
    detail: str


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
