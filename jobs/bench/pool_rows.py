"""Rows about what grows with a pool: memory, selection, and the costs of a row and of a shard.

Costs are given as multiples of 1 microsecond, 1 byte or 1 millisecond, so that they can be extended
to pools of any size. Everything is generated.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from baselines import sorted_in_memory
from benchmark import Row
from numpy.typing import NDArray
from pool_passes import (
    SHARD,
    TINY,
    new_folder,
    pass_work,
    score,
    tiny,
    tiny_pool,
    write_model,
    write_scores,
)
from racing import growth, race

from rayal.data.pool import census
from rayal.data.pool.source import Pool, open_pool
from rayal.engine.local import LocalEngine
from rayal.storage.folder import Folder
from rayal.strategies.core_set import CoreSet
from rayal.strategies.entropy import Entropy
from rayal.workflows.run import start_engine
from rayal.workflows.score import pool_shard_rows
from rayal.workflows.score.settings import PoolCompute
from rayal.workflows.select import select
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.request import Request


def memory(
    options: argparse.Namespace, sizes: tuple[int, ...] = (10**4, 10**5, 10**6)
) -> list[Row]:
    """Of the process that drives a pass, over pools of these sizes."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(TINY, folder)
        for size in (SHARD, *sizes):
            tiny_pool(folder, size)
        for engine, who in (("ray", "driver"), ("local", "driver and worker in one process")):
            settings = [tiny(folder, size, engine) for size in (SHARD, *sizes)]
            found = [
                growth(f"memory, {who}, {size} rows", 1, pass_work, each, settings[0], scratch)
                for size, each in zip(sizes, settings[1:], strict=True)
            ]
            said = " MB, ".join(f"{megabytes:.0f}" for megabytes, _, _ in found)
            workers = max(worker for _, _, worker in found)
            rows.append(
                Row(
                    f"memory of a pass over {sizes[-1]} rows, engine {engine}, {who}",
                    f"over {sizes[0]} rows",
                    found[-1][0] / found[0][0],
                    "flat",
                    f"{said} MB over {', '.join(map(str, sizes))} rows; the last one in"
                    f" {found[-1][1]:.0f} s" + (f"; a worker {workers:.0f} MB" * (workers > 0)),
                )
            )
    return rows


def top_k(options: argparse.Namespace, units: int = 10**7, picks: int = 10_000) -> list[Row]:
    """`rayal select` by a score; a pass is read shard by shard."""
    with tempfile.TemporaryDirectory() as scratch:
        write_scores(
            Folder(scratch), units, "entropy", lambda rng, n: {"score.entropy": rng.random(n)}
        )
        request = Request(strategy=Entropy(), budget=picks)
        ours = growth("top_k, rayal", options.runs, select_work, scratch, request)
        theirs = growth("top_k, sort", options.runs, sort_work, scratch, picks)
    assert ours[2] == theirs[2], "the highest scores differ"
    what, against = f"highest {picks} of {units} scores", "in-memory sort of the same shards"
    return [
        Row(
            f"{what}, memory",
            against,
            ours[0] / theirs[0],
            "rayal below 300 MB",
            f"{ours[0]:.0f} MB against {theirs[0]:.0f} MB",
        ),
        Row(
            f"{what}, time",
            against,
            ours[1] / theirs[1],
            "none",
            f"{ours[1]:.1f} s against {theirs[1]:.1f} s",
        ),
    ]


def core_set(
    options: argparse.Namespace,
    sizes: tuple[int, ...] = (10**5, 10**6),
    width: int = 512,
    picks: int = 1000,
) -> list[Row]:
    """`rayal select` by kept features, which lie in a file meanwhile."""
    rows, took = [], []
    for units in sizes if options.large else sizes[:1]:
        with tempfile.TemporaryDirectory() as scratch:
            write_scores(Folder(scratch), units, "core_set", partial(_clustered, width))
            megabytes, seconds, _ = growth(
                f"core_set, {units}",
                options.runs,
                select_work,
                scratch,
                Request(strategy=CoreSet(), budget=picks),
            )
        took.append(seconds)
        what = f"core-set, {units} x {width}, {picks} picks"
        whole = units * width * 2 / 1e6
        rows.append(
            Row(
                f"{what}, memory, its files mapped included",
                "the features in float16",
                megabytes / whole,
                "none",
                f"{megabytes:.0f} MB against {whole:.0f} MB; {seconds:.1f} s",
            )
        )
        if len(took) > 1:
            rows.append(
                Row(
                    f"{what}, time",
                    f"{sizes[0]} x {width}",
                    seconds / took[0],
                    "in proportion",
                    f"{seconds:.1f} s against {took[0]:.1f} s",
                )
            )
    return rows


def _clustered(width: int, rng: np.random.Generator, rows: int) -> dict[str, NDArray[np.float16]]:
    """As `pool_features.mixture`, the same centres every time."""
    centres = 3 * np.random.default_rng(1).standard_normal((100, width), dtype=np.float32)
    spread = rng.standard_normal((rows, width), dtype=np.float32)
    return {"keep.features": (centres[rng.integers(0, 100, rows)] + spread).astype(np.float16)}


def select_work(folder: str, request: Request) -> Callable[[], list[str]]:
    """For `growth`."""
    return lambda: select(folder, request).ids


def sort_work(folder: str, picks: int) -> Callable[[], list[str]]:
    """For `growth`."""
    names = [file.name for file in FinishedPass(folder).result.shards]
    return lambda: sorted_in_memory(Folder(folder), names, picks)


def costs(options: argparse.Namespace, rows: int = 10**6, files: int = 10**5) -> list[Row]:
    """What a row of a pool costs beside its decoding and its forward pass, in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(TINY, folder)
        tiny_pool(folder, rows)
        _touch(folder / "images", files)
        settings = tiny(folder, rows, "local").model_copy(
            update={"compute": PoolCompute(engine="local", device="cpu")}
        )
        engine = LocalEngine(settings.compute.for_engine())
        out = score(settings, str(folder / "out"), engine)
        pool, done = _opened(settings.pool, scratch), FinishedPass(out)
        most = pool_shard_rows(rows, math.prod(TINY.image.shape), settings.compute)
        shards, records = pool.shards(most), done.result.shards

        def resume() -> None:
            (folder / "out/scores/done.json").unlink()
            score(settings, out, engine)

        ran = race(
            "costs",
            options.runs,
            listing=lambda: _opened(str(folder / "images"), scratch),
            opening=lambda: _opened(settings.pool, scratch),
            census=lambda: census.check_ids(pool),
            check=lambda: census.check_scored(pool, shards, done.folder, records),
            resume=resume,
            select=lambda: select(out, Request(strategy=Entropy(), budget=min(rows, 10_000))),
        )
    size = sum(record.bytes for record in records)
    said = f"of {rows} rows"
    each = [
        ("listing of a local folder", "listing", files, f"of {files} files"),
        ("opening of Parquet files", "opening", rows, f"{said} in row groups of {SHARD}"),
        ("check of ids before the pass", "census", rows, said),
        ("check of ids after it", "check", rows, f"{said} in {len(shards)} shards"),
        (
            "going on with a pass of which all shards are there",
            "resume",
            rows,
            f"{said}, the check included",
        ),
        ("selection by a score", "select", rows, f"{said}"),
    ]
    return [
        *(
            _cost(
                what,
                "1 microsecond a row",
                1e6 * ran.median(side) / units,
                f"{ran.median(side):.2f} s {detail}",
            )
            for what, side, units, detail in each
        ),
        _cost("scores on disk", "1 byte a row", size / rows, "id, status, predicted, one score"),
    ]


def _cost(what: str, unit: str, times: float, detail: str) -> Row:
    return Row(what, unit, times, "none", detail)


def _opened(pool: str, scratch: str) -> Pool:
    listing = Folder(new_folder(scratch)) / "listing"
    return open_pool(pool, decoding=TINY.decoding, spec=TINY.image, listing=listing)


def _touch(folder: Path, files: int) -> None:
    """Empty files; nothing is decoded in a listing."""
    for number in range(files):
        path = folder / f"{number // 1000:05d}" / f"{number:08d}.jpg"
        if not number % 1000:
            path.parent.mkdir(parents=True)
        path.touch()


def driver(options: argparse.Namespace, shards: int = 500, rows: int = 16) -> list[Row]:
    """What a shard costs the driver of Ray Data, from passes of so many tiny shards and four times
    as many."""
    spent: dict[int, list[float]] = {shards: [], 4 * shards: []}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        write_model(TINY, folder)
        settings = {}
        for count in spent:
            tiny_pool(folder, count * rows, rows)
            settings[count] = tiny(folder, count * rows, "ray", rows)
        engine: Any = stack.enter_context(start_engine(settings[shards].compute.for_engine()))

        def run(count: int) -> None:
            started = time.process_time()
            score(settings[count], new_folder(scratch), engine)
            spent[count].append(time.process_time() - started)

        ran = race("driver", options.runs, **{str(count): partial(run, count) for count in spent})
    few, many = ((spent[count][1:], ran.seconds[str(count)]) for count in spent)
    of_cpu, of_wall = (
        1e3 * median(slopes(a, b, 3 * shards)) for a, b in zip(few, many, strict=True)
    )
    detail = f"slope from {shards} to {4 * shards} shards of {rows} rows"
    return [
        _cost("driver of Ray Data, its CPU time", "1 millisecond a shard", of_cpu, detail),
        _cost(
            "pass on Ray Data, tiny shards",
            "1 millisecond a shard",
            of_wall,
            f"{detail}, all workers and files included",
        ),
    ]


def slopes(few: Sequence[float], many: Sequence[float], more: int) -> list[float]:
    return [(b - a) / more for a, b in zip(few, many, strict=True)]
