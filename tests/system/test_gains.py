"""A pool in which it is known what a strategy gains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from rayal.experiment.experiment import Experiment
from rayal.report.statistics import aulc, paired_test
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support.whole_runs import ONE_THREAD, go

COMMON, RARE = 170, 12
"""Images of classes 0 and 1, and of each of the other eight, in the pool."""


@pytest.fixture
def uneven(tmp_path: Path) -> dict[str, Any]:
    """Digits of which nearly all are 0 or 1, judged by as many of each."""
    digits = load_digits()
    pool: list[int] = []
    for digit in range(10):
        pool += np.flatnonzero(digits.target == digit)[: COMMON if digit < 2 else RARE].tolist()
    rest = np.setdiff1d(np.arange(len(digits.target)), pool)
    test = np.concatenate([rest[digits.target[rest] == digit][:8] for digit in range(10)])
    for name, rows in (("pool", np.array(pool)), ("test", test)):
        pq.write_table(
            table(digits.images[rows], digits.target[rows], name), tmp_path / f"{name}.parquet"
        )
    files = {"pool": ["pool.parquet"], "test": ["test.parquet"]}
    return {"name": "parquet", "root": str(tmp_path), **files}


def table(images: NDArray[Any], labels: NDArray[Any], name: str) -> pa.Table:
    pixels = (images[:, None] * 15).astype(np.uint8)
    columns = {
        "id": [f"{name}-{n:03}" for n in range(len(labels))],
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
        "label": labels,
    }
    return pa.table(columns)


@pytest.mark.slow
def test_a_strategy_gains_where_it_must(
    tiny: Callable[..., Experiment], uneven: dict[str, Any], tmp_path: Path
) -> None:
    """Scores would be turned round, or labels be of other units: eight of ten classes are rare, so
    that whoever asks about what it is unsure of learns them first, and chance learns them last
    (L07)."""
    areas: dict[str, list[float]] = {"margin": [], "random": [], "most_confident": []}
    for strategy, of_seeds in areas.items():
        for seed in range(3):
            x = tiny(
                dataset=uneven,
                seed=seed,
                strategy=strategy,
                scheme={"name": "supervised", "epochs": 30, "batch_size": 16, "lr": 0.05},
                budget={"initial": 20, "per_cycle": 20, "total": 100},
                compute=ONE_THREAD,
            )
            out = tmp_path / f"{strategy}-{seed}"
            go(x, out)
            curve = Record(Folder(out)).cycles()
            of_seeds.append(aulc([c["labels"] for c in curve], [c["accuracy"] for c in curve]))
    means = [float(np.mean(areas[name])) for name in ("most_confident", "random", "margin")]
    found = paired_test(areas["margin"], areas["most_confident"])

    assert means == sorted(means), areas
    assert found.p is not None and found.p < 0.05, areas
