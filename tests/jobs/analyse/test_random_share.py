"""Estimates of explore beside the truth: what is compared, and what is counted."""

from pathlib import Path

import numpy as np
import pytest

from jobs.analyse.error_rates import write_features
from jobs.analyse.random_share import Compared, Vectors, compared, make_run, predicted, told


def test_lines_by_hand() -> None:
    """Means in percent, differences in points, and the intervals that hold the truth."""
    found = [
        Compared(50, 0.8, 0.5, 0.9, 0.4, 0.85, 0.95),
        Compared(50, 0.9, 0.6, 1.0, 0.6, 0.85, 0.95),
    ]
    lines = [*told(found)]

    assert ["50", "85.00", "50.00", "85.00", "95.00"] == lines[1].split()
    assert "estimate - rest: mean +0.00 points, standard deviation 5.00" == lines[2]
    assert "picked - test: mean -45.00 points, standard deviation 10.00" == lines[5]
    assert "intervals that hold rest: 2 of 2, 100.0%" == lines[6]
    assert "intervals that hold test: 1 of 2, 50.0%" == lines[7]
    assert "mean width of intervals: 40.0 points" == lines[8]


@pytest.mark.usefixtures("cache")
def test_a_run_beside_the_truth(tmp_path: Path) -> None:
    """A model that is asked in another way than in its run would make estimates look wrong."""
    write_features(tmp_path / "features")
    pool, test = (Vectors.read(tmp_path / f"features/{name}.npz") for name in ("pool", "test"))
    run = make_run(tmp_path / "features", tmp_path, seed=0, share=0.5, batch=20)
    found = [*compared(run, pool, test)]
    truth = dict(zip(pool.ids, pool.labels.tolist(), strict=True))
    first = run.choices()
    drawn = [*first["id"][(first["cycle"] == 0) & first["explored"]]]
    at = [pool.ids.index(unit) for unit in drawn]
    said = predicted(run, 0, pool.features)[at]

    assert [20 * n for n in range(1, 10)] == [each.labels for each in found]
    assert found[0].estimate == np.mean([truth[u] == s for u, s in zip(drawn, said, strict=True)])
    assert all(each.low <= each.estimate <= each.high for each in found)
    assert found[-1].rest > 0.8 and found[-1].test > 0.8
