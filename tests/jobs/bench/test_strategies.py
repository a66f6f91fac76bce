"""The benchmark of the strategies, at sizes at which its ratios mean nothing."""

import json
from functools import partial

import numpy as np
import pytest
import torch

ROWS = [
    ("gradient norm", "batch size 1"),
    ("gradient norm", "forward + backward"),
    ("epmcm", "entropy"),
    ("cod", "entropy"),
    ("six strategies in one pass", "alone"),
    ("six strategies in one pass", "six passes"),
    ("entropy of 300 vectors", "loop in memory"),
    ("core-set", "plain"),
    ("BADGE", "dense k-means++"),
    ("time", "extrapolated"),
    ("memory", "extrapolated"),
    ("highest", "in-memory sort"),
]
"""Words of what is measured, and against what; other libraries may add to them."""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Runs the benchmark with further options and returns its rows."""
    import racing

    from jobs.bench import strategies  # found only once conftest is loaded

    options = ["--small", "--runs", "1", "--threads", "1"]
    folders = ["--out", str(tmp_path), "--data", str(tmp_path)]
    threads = torch.get_num_threads()
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    yield lambda *more: strategies.main([*options, *folders, *more])
    racing.use_threads(threads)


def test_every_row_is_measured(bench, tmp_path, capsys, monkeypatch):
    """A row would be missing from the speed table, or compare two different pieces of work: every
    row stops where its sides disagree."""
    monkeypatch.setattr("selection_rows.growth", in_this_process)
    rows = bench()

    for what, against in ROWS:
        assert any(what in row.what and against in row.against for row in rows), what
    assert all(row.ratio > 0 and "load" in row.detail for row in rows)
    saved = json.loads((tmp_path / "bench_strategies.json").read_text())
    assert [row["what"] for row in saved["rows"]] == [row.what for row in rows]
    assert f"| {rows[-1].what} |" in capsys.readouterr().out


def test_stops_where_the_sides_disagree(bench, monkeypatch):
    """A baseline that picks other units would be beaten, or win, and nobody would see why."""
    monkeypatch.setattr("baselines.plain_greedy", lambda points, centres, picks: range(picks))
    with pytest.raises(AssertionError, match="differs from the plain greedy"):
        bench("--only", "core_set")


def in_this_process(what, runs, prepare, *arguments):
    """In place of `growth`, whose processes take seconds to start."""
    return 1.0, 1.0, prepare(*arguments)()


def test_growth_is_what_a_call_adds(bench):
    """Memory of the inputs, or of this process, would pass for that of the work."""
    import racing

    megabytes, seconds, ones = racing.growth("ones", 1, partial, np.ones, 5_000_000)

    assert 39 < megabytes < 45
    assert seconds > 0 and ones.sum() == 5_000_000
