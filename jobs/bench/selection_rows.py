"""Rows of the speed table about selection: core-set, BADGE, and the highest of many scores."""

import argparse
import tempfile
from collections.abc import Callable

import baselines
import numpy as np
from benchmark import Row, median_ratio
from numpy.typing import NDArray
from pool_features import drawn, pool_features, unscored
from racing import growth, race

from rayal.cycle import shard_file
from rayal.cycle.ranking import highest
from rayal.runs.passes import Pass
from rayal.selection.candidates import Candidates, tie_secret
from rayal.storage.folder import Folder
from rayal.strategies.badge import Badge
from rayal.strategies.base import Strategy
from rayal.strategies.core_set import CoreSet

SHARD = 100_000


def core_set(
    options: argparse.Namespace, units: int = 50_000, labeled: int = 5_000, picks: int = 2_500
) -> list[Row]:
    """k-center greedy, from features and labeled features to picks."""
    features, origin = pool_features(options.data, units)
    print(f"core_set: features of {origin}", flush=True)
    features = features[np.random.default_rng(0).permutation(units)]
    centres, points = features[:labeled], features[labeled:]
    pool = unscored({"features": points}, {"features": centres})
    sides: dict[str, Callable[[], object]] = {
        "rayal": lambda: _positions(CoreSet(), pool, picks),
        "plain": lambda: baselines.plain_greedy(points, centres, picks),
    }
    if baselines.installed("lightly_mundig"):
        sides["mundig"] = lambda: baselines.mundig(points, centres, picks)
    ran = race("core_set", options.runs, **sides)
    chosen = {side: set(map(int, result)) for side, result in ran.results.items()}
    assert chosen["rayal"] == chosen["plain"], "core-set differs from the plain greedy"
    what = f"core-set, {units} x {features.shape[1]}, {labeled} labeled, {picks} picks"
    detail = f"{ran.median('rayal'):.2f} s; the same set; {origin}"
    rows = [Row(what, "plain vectorised greedy", ran.times("plain"), "at least 2.5 x", detail)]
    if "mundig" in chosen:
        same = f"{len(chosen['rayal'] & chosen['mundig'])} of {picks} picks are the same"
        rows.append(Row(what, "lightly-mundig", ran.times("mundig"), "at least 5 x", same))
    return rows


def badge(
    options: argparse.Namespace,
    units: int = 20_000,
    classes: int = 100,
    width: int = 768,
    picks: int = 1_000,
    dense: int = 3_000,
) -> list[Row]:
    """k-means++ on gradients; the dense form builds them, for `dense` units and a tenth of the
    picks, and what it would take for all is extrapolated: both its steps are linear in the units.
    """
    few, scale = picks // 10, units / dense
    whole, part = drawn(units, classes, width), drawn(dense, classes, width)
    factors = part.kept["probs"], part.kept["features"]
    built: list[baselines.Dense] = []
    ran = race(
        "badge",
        options.runs,
        rayal=lambda: _draw(whole, picks),
        rayal_as_dense=lambda: _draw(part, few),
        dense=lambda: built.append(baselines.dense_badge(*factors, few)),
    )
    ours, theirs = ran.results["rayal_as_dense"], built[-1].picks
    left = baselines.left_by(*factors, ours) / baselines.left_by(*factors, theirs)
    assert ours[0] == theirs[0] and 2 / 3 < left < 3 / 2, f"BADGE leaves {left} x the dense D^2"
    memory, dense_memory = (
        growth(f"badge, {work.__name__}", options.runs, work, n, classes, width, k)[0]
        for work, n, k in ((badge_work, units, picks), (dense_work, dense, few))
    )
    seconds = [scale * (run.build_seconds + picks * run.pick_seconds) for run in built[1:]]
    what = f"BADGE, {units} x {classes} x {width}, {picks} picks"
    against = f"dense k-means++, extrapolated from {dense} units"
    return [
        Row(
            f"BADGE, {dense} x {classes} x {width}, {few} picks, time",
            "dense k-means++",
            ran.times("dense", "rayal_as_dense"),
            "none at this size",
            f"the sum of D^2 it leaves is {left:.3f} of the dense form's",
        ),
        Row(
            f"{what}, time",
            against,
            median_ratio(seconds, ran.seconds["rayal"]),
            "at least 20 x",
            f"{ran.median('rayal'):.2f} s; extrapolated {np.median(seconds):.0f} s",
        ),
        Row(
            f"{what}, memory beside the inputs",
            against,
            scale * dense_memory / memory,
            "at least 100 x",
            f"{memory:.0f} MB; {dense_memory:.0f} MB for {dense} units",
        ),
    ]


def badge_work(units: int, classes: int, width: int, picks: int) -> Callable[[], object]:
    """For `growth`."""
    pool = drawn(units, classes, width)
    _draw(drawn(100, classes, width), 10)
    return lambda: _draw(pool, picks)


def dense_work(units: int, classes: int, width: int, picks: int) -> Callable[[], object]:
    """For `growth`."""
    pool = drawn(units, classes, width)
    baselines.dense_badge(*drawn(10, classes, width).kept.values(), 5)
    return lambda: baselines.dense_badge(*pool.kept.values(), picks)


def _draw(pool: Candidates, picks: int) -> NDArray[np.intp]:
    return _positions(Badge(), pool, picks)


def _positions(strategy: Strategy, pool: Candidates, picks: int) -> NDArray[np.intp]:
    """Where in the pool the units are that it selects."""
    places = pool.places(strategy.select(pool, picks, np.random.default_rng(0)))
    assert places is not None
    return places


def topk(options: argparse.Namespace, units: int = 10**7, picks: int = 10_000) -> list[Row]:
    """Memory from the shards of a pass to its highest scores. Time is that of one process."""
    with tempfile.TemporaryDirectory() as scratch:
        result = _scored(Folder(scratch), units)
        ours, seconds, picked = growth(
            "topk, rayal", options.runs, select_work, scratch, result, picks
        )
        theirs, their_seconds, sorted_picks = growth(
            "topk, sort", options.runs, sort_work, scratch, result, picks
        )
    assert picked == sorted_picks, "the highest scores differ"
    return [
        Row(
            f"highest {picks} of {units} scores, memory from the shards on",
            "in-memory sort of the same shards",
            ours / theirs,
            "rayal below 300 MB",
            f"{ours:.0f} MB in {seconds:.1f} s; sort {theirs:.0f} MB in {their_seconds:.1f} s",
        )
    ]


def select_work(folder: str, result: Pass, picks: int) -> Callable[[], object]:
    """For `growth`: what the select stage does."""

    def work() -> list[str]:
        secret = tie_secret(np.random.default_rng(0))
        tops = highest(Folder(folder), result, {"entropy": secret}, picks)
        ids: list[str] = tops["entropy"]["id"].to_pylist()
        return ids

    return work


def sort_work(folder: str, result: Pass, picks: int) -> Callable[[], object]:
    """For `growth`."""
    names = [file.name for file in result.shards]
    return lambda: baselines.sorted_in_memory(Folder(folder), names, picks)


def _scored(folder: Folder, units: int) -> Pass:
    """Writes the shards of a pass with random scores; returns its result."""
    rng, files = np.random.default_rng(0), []
    for start in range(0, units, SHARD):
        ids = [f"unit-{unit:09d}" for unit in range(start, min(start + SHARD, units))]
        data = shard_file.encode(ids, {"score.entropy": rng.random(len(ids))}, {})
        files.append(folder.write(f"shard-{start // SHARD:05d}.parquet", data))
    return Pass(units=units, columns=("entropy",), shards=tuple(files))
