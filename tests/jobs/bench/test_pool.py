"""The benchmark of large pools, at sizes at which its numbers mean nothing."""

import argparse
import json
import os
from pathlib import Path

import pytest
import racing
import ray
import torch
from PIL import Image

from rayal.runs.events import Event
from tests.support.forks import FORKS

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
OF_ONE_PROCESS = [
    *(row for row in ROWS if row[0].startswith("highest")),
    *(row for row in ROWS if row[1] in ("1 microsecond", "1 byte")),
]


@pytest.fixture
def bench(tmp_path):
    """Runs the benchmark with further options and returns its rows."""
    from jobs.bench import pool  # found only once conftest is loaded

    options = ["--small", "--large", "--runs", "1", "--units", "16", "--out", str(tmp_path)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda *more: pool.main([*options, *more])
    torch.set_num_threads(threads)


def assert_measured(rows, expected):
    assert len(rows) == len(expected)
    for row, (what, against) in zip(rows, expected, strict=True):
        assert what in row.what and against in row.against
        assert "load" in row.detail


def test_a_small_run(bench, tmp_path, capsys, monkeypatch):
    """Rows would be missing from the page, or compare two different pieces of work: these are all
    that need neither a cluster nor a fresh process for each pool. Processes whose memory is
    measured are copies, which need not import anything."""
    monkeypatch.setattr(racing, "get_context", lambda kind: FORKS)
    rows = bench("--only", "top_k,costs")

    assert_measured(rows, OF_ONE_PROCESS)
    (saved,) = tmp_path.glob("*.json")
    assert [row["what"] for row in json.loads(saved.read_text())["rows"]] == [r.what for r in rows]
    assert f"| {rows[-1].what} |" in capsys.readouterr().out


@pytest.fixture
def photos(tmp_path):
    """A case of sixteen photographs and of sixty-four, which are those of a folder."""
    import pool_cases

    (tmp_path / "mine").mkdir()
    Image.new("RGB", (90, 70), "red").save(tmp_path / "mine/a.JPG")
    options = argparse.Namespace(units=16, photos=tmp_path / "mine")
    with pool_cases.photos(options, width=1, batch=8) as case:
        yield case


def test_stops_where_the_sides_disagree(photos):
    """A loop that scores something else would be beaten, or win, and nobody would see why."""
    from jobs.bench.pool import Rates

    with photos.rayal("local", cores=1) as local:
        Rates(photos, 1, {"local": local, "loop": photos.loop}).check()
        others = Rates(photos, 1, {"local": local, "loop": lambda size: photos.loop(size) + 0.01})
    with pytest.raises(AssertionError, match="local"):
        others.check()


def test_own_photographs_are_the_pool(photos, bench, tmp_path):
    """Figures for somebody's photographs would be those of drawn ones."""
    (photograph,) = (tmp_path / "mine").iterdir()
    pool = [path.read_bytes() for path in photos.pool(16).iterdir()]

    assert [photograph.read_bytes()] * 16 == pool
    assert str(tmp_path / "mine") in photos.what
    with pytest.raises(SystemExit, match="no JPEG"):
        bench("--only", "decode_bound", "--photos", str(tmp_path / "none"))


@pytest.mark.ray
@pytest.mark.slow
def test_every_row_is_measured(bench, monkeypatch):
    """A row would be missing from the page; what is compared with Ray Data would not be what Ray
    Data does: every row stops where its sides disagree."""
    monkeypatch.setenv(
        "PYTHONPATH", str(Path(__file__).parents[3] / "jobs" / "bench")
    )  # Ray's workers import the actors from there
    ray.shutdown()  # a cluster that other tests share
    rows = bench()

    assert_measured(rows, ROWS)
    assert all("peak memory" in row.detail for row in rows if "images per second" in row.what)


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
    workers.on(Event("further", "score", None, 1, 10, "images"))

    assert workers.megabytes == 2.048
