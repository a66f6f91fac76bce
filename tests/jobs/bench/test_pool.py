"""The benchmark of large pools, at sizes at which its numbers mean nothing."""

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
import ray
import torch
from PIL import Image

from rayal.engine.local import LocalEngine

ROWS = [
    ("raw pixels: images per second, engine local", "plain PyTorch loop"),
    ("raw pixels: images per second, engine ray", "plain PyTorch loop"),
    ("raw pixels: images per second, engine ray", "bare map_batches"),
    ("64 x 64, network of width 1: images per second, engine local", "plain PyTorch loop"),
    ("64 x 64, network of width 1: images per second, engine ray", "plain PyTorch loop"),
    ("64 x 64, network of width 1: images per second, engine ray", "bare map_batches"),
    ("2 scoring actors", "1 actor"),
    ("memory of a pass over 80 rows, engine ray", "over 40 rows"),
    ("memory of a pass over 80 rows, engine local", "over 40 rows"),
    ("highest 50 of 2000 scores, memory", "in-memory sort"),
    ("highest 50 of 2000 scores, time", "in-memory sort"),
    ("core-set, 200 x 16, 5 picks, memory", "features in float16"),
    ("core-set, 400 x 16, 5 picks, memory", "features in float16"),
    ("core-set, 400 x 16, 5 picks, time", "200 x 16"),
    ("listing", "1 microsecond"),
    ("opening", "1 microsecond"),
    ("check of ids before", "1 microsecond"),
    ("check of ids after", "1 microsecond"),
    ("going on", "1 microsecond"),
    ("selection by a score", "1 microsecond"),
    ("scores on disk", "1 byte"),
    ("driver of Ray Data", "1 millisecond"),
    ("pass on Ray Data", "1 millisecond"),
]
"""What is measured, and against what."""


@pytest.fixture
def bench(tmp_path):
    """Runs the benchmark with further options and returns its rows."""
    from jobs.bench import pool  # found only once conftest is loaded

    options = ["--small", "--large", "--runs", "1", "--units", "16", "--out", str(tmp_path)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda *more: pool.main([*options, *more])
    torch.set_num_threads(threads)


@pytest.fixture
def in_one_process(monkeypatch):
    """In place of clusters and of fresh processes, each of which takes seconds to start."""
    import pool_cases
    import pool_rows

    from jobs.bench import pool

    monkeypatch.setattr("rayal.engine.cluster.connect", lambda address: 1)
    monkeypatch.setattr("rayal.engine.cluster.disconnect", lambda: None)
    monkeypatch.setattr(
        "rayal.engine.cluster.RayEngine", lambda compute, cores: LocalEngine(compute)
    )
    monkeypatch.setattr("rayal.workflows.run.engine", lambda compute: closing(LocalEngine(compute)))
    monkeypatch.setattr(pool_cases.Case, "bare", lambda case, size, cores: case.loop(size))
    for module in (pool, pool_rows):
        monkeypatch.setattr(module, "growth", measured_here)


def measured_here(what, runs, prepare, *arguments):
    return 1.0, 1.0, prepare(*arguments)()


def test_every_row_is_measured(bench, in_one_process, tmp_path, capsys):
    """A row would be missing from the page, or compare two different pieces of work: every row
    stops where its sides disagree."""
    rows = bench()

    assert len(rows) == len(ROWS)
    for row, (what, against) in zip(rows, ROWS, strict=True):
        assert what in row.what and against in row.against
        assert "load" in row.detail
    saved = json.loads((tmp_path / "bench_pool.json").read_text())
    assert [row["what"] for row in saved["rows"]] == [row.what for row in rows]
    assert f"| {rows[-1].what} |" in capsys.readouterr().out


def test_stops_where_the_sides_disagree(bench, in_one_process, monkeypatch):
    """A loop that scores something else would be beaten, or win, and nobody would see why."""
    monkeypatch.setattr("pool_cases.entropy", lambda log_probs: log_probs[:, 0])
    with pytest.raises(AssertionError, match="local"):
        bench("--only", "model_bound")


def test_own_photographs_are_the_pool(bench, in_one_process, tmp_path):
    """Figures for somebody's photographs would be those of drawn ones."""
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (90, 70), "red").save(tmp_path / "mine/a.JPG")
    rows = bench("--only", "decode_bound", "--photos", str(tmp_path / "mine"))

    assert all(str(tmp_path / "mine") in row.what for row in rows)
    with pytest.raises(SystemExit, match="no JPEG"):
        bench("--only", "decode_bound", "--photos", str(tmp_path / "none"))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("only", ["model_bound", "decode_bound"])
def test_ray_data_gives_the_same_scores(bench, only, monkeypatch):
    """What is compared with Ray Data would not be what Ray Data does."""
    monkeypatch.setenv(
        "PYTHONPATH", str(Path(__file__).parents[3] / "jobs" / "bench")
    )  # Ray's workers import the actors from there
    ray.shutdown()  # a cluster that other tests share
    rows = bench("--only", only)

    assert any("bare map_batches" in row.against for row in rows)
    assert all("peak memory" in row.detail for row in rows)


def test_workers_of_this_ray_are_found_by_their_grandparent(bench, monkeypatch):
    """Peak memory would be that of other people's processes, or nothing."""
    import pool_passes

    def process(pid, parent, kilobytes):
        return {"Pid": str(pid), "PPid": str(parent), "VmHWM": f"{kilobytes} kB"}

    mine = os.getpid()
    there = [
        process(mine, 1, 9000),
        process(5, mine, 9000),
        process(6, 5, 2000),
        process(7, 6, 9000),
    ]
    monkeypatch.setattr(pool_passes, "_processes", lambda: there)
    workers = pool_passes.Workers()
    workers.images(1, 10)

    assert workers.megabytes == 2.048
