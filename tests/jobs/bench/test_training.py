"""The benchmark of trainings, at sizes at which its ratios mean nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Runs the benchmark with further options and returns its rows."""
    from jobs.bench import training  # found only once conftest is loaded

    yield lambda *more: training.main(["--small", "--runs", "1", "--out", str(tmp_path), *more])


def test_both_phases_are_measured(bench: Callable[..., Any], tmp_path: Path) -> None:
    """A row would be missing, or a GPU be read into the times of a CPU."""
    rows = bench()
    saved = json.loads((tmp_path / "bench_training.json").read_text())

    for phase in ("supervised", "tod"):
        for way in ("fp32", "bf16"):
            (row,) = [r for r in rows if r.what.startswith(phase) and r.against.endswith(way)][:1]
            assert row.ratio > 0
            assert f"hand-written loop, {way}" == row.against
    assert all("no GPU measured" in row.detail for row in rows)
    assert not any("protocol" in row.what for row in rows), "of another network and batch"
    assert [row["what"] for row in saved["rows"]] == [row.what for row in rows]


def test_the_protocol_is_computed_of_the_rate_and_says_so() -> None:
    """A time that nobody measured would be read as one."""
    from jobs.bench import training

    row = training._protocol("supervised", training.Way("bf16"), 35_000.0, "a GPU")

    assert 200 * (5_000 + 7_500 + 10_000 + 12_500 + 15_000 + 17_500 + 20_000) == training.VISITS
    assert 17_500_000 / 35_000 / 600 == pytest.approx(row.ratio)
    assert "computed from the rate, not run" in row.what
    assert "17.5 million visits at 35000/s: 8.3 min" in row.detail


def test_without_a_gpu_it_says_so(bench: Callable[..., Any]) -> None:
    """Whoever asks for a GPU would be given times of a CPU."""
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit, match="no GPU here: nothing was measured"):
        bench("--device", "cuda")
