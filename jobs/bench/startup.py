"""Where the time of a short run on Ray goes: each process of `rayal demo`, from start to end.

    python jobs/bench/startup.py [--runs 5] [--every 0.05] [--out report]

Linux alone: processes are watched from outside, through /proc. Of each it says when it came to be,
when Ray gave it its work (its title changes then), how much of a core it took until then and in
all, and when it ended; beside that stand the stages of the run. Both engines run in turn.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from benchmark import Row, median_ratio, write


@dataclass
class Process:
    """What was seen of one process; seconds since the command began."""

    title: str
    began: float
    titles: list[tuple[float, float, str]] = field(default_factory=list)
    """When a title was first seen, the core seconds until then, and the title."""
    cpu: float = 0.0
    seen: float = 0.0


def main() -> None:
    options = _options()
    seconds: dict[str, list[float]] = {"ray": [], "local": []}
    processes: list[Process] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.runs + 1):
            for engine, times in seconds.items():
                took, found = watched(
                    _command(engine, f"{scratch}/{engine}-{number}"), options.every
                )
                if number:  # the first is a warm-up
                    times.append(took)
                    print(f"{engine}: {took:.1f} s", flush=True)
                if engine == "ray":
                    processes = found
    ray, local = (statistics.median(seconds[engine]) for engine in ("ray", "local"))
    more = statistics.median(a - b for a, b in zip(seconds["ray"], seconds["local"], strict=True))
    detail = f"{ray:.1f} s against {local:.1f} s: {more:.1f} s more"
    ratio = median_ratio(seconds["ray"], seconds["local"])
    write(
        "bench_startup",
        [Row("rayal demo on Ray", "the local engine", ratio, "at most 10 s more", detail)],
        options.out,
    )
    table = "\n".join(lines(processes))
    (options.out / "bench_startup_processes.md").write_text(table + "\n")
    print(table)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--runs", type=int, default=5, help="counted runs of each engine")
    made.add_argument("--every", type=float, default=0.05, help="seconds between looks")
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the results")
    return made.parse_args()


def _command(engine: str, out: str) -> list[str]:
    run = [sys.executable, "-m", "rayal", "demo", "--out", out]
    return [*run, "--set", f"compute.engine={engine}", "--set", "tracking=none"]


def watched(command: list[str], every: float) -> tuple[float, list[Process]]:
    """The seconds that a command took, and every process that it started."""
    started = time.time()
    root = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: dict[int, Process] = {}
    while root.poll() is None:
        for each in [root, *_children(root)]:
            _look(each, found, started)
        time.sleep(every)
    took = time.time() - started
    if root.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {root.returncode}")
    return took, sorted(found.values(), key=lambda each: each.began)


def _children(root: psutil.Process) -> Iterator[psutil.Process]:
    try:
        yield from root.children(recursive=True)
    except psutil.Error:
        return


def _look(each: psutil.Process, found: dict[int, Process], started: float) -> None:
    try:
        with each.oneshot():
            title = " ".join(" ".join(each.cmdline()).split())  # Ray pads its own
            times = each.cpu_times()
            process = found.setdefault(each.pid, Process(title, each.create_time() - started))
    except psutil.Error:
        return  # it has ended
    process.cpu, process.seen = times.user + times.system, time.time() - started
    if not process.titles or process.titles[-1][2] != title:
        process.titles.append((process.seen, process.cpu, title))


def lines(processes: list[Process]) -> Iterator[str]:
    """A Markdown table of processes that took anything worth a line."""
    yield "| process | starts, s | at work, s | core s until then | core s in all | last seen, s |"
    yield "|---|---|---|---|---|---|"
    for each in processes:
        first = next((t for t in each.titles if t[2].startswith("ray::")), each.titles[0])
        titles = [_short(title) for _, _, title in each.titles]
        yield (
            f"| {' → '.join(dict.fromkeys(titles))} | {each.began:.1f} | {first[0]:.1f} |"
            f" {first[1]:.1f} | {each.cpu:.1f} | {each.seen:.1f} |"
        )


def _short(title: str) -> str:
    """The program's name, or what Ray says that a worker does."""
    if title.startswith("ray::"):
        return title
    words = [Path(word).name for word in title.split()[:3]]
    return " ".join(word for word in words if word and not word.startswith("-"))[:60]


if __name__ == "__main__":
    main()
