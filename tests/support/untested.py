"""Digits without test images: a pool in one Parquet file, labeled so that a simulation answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayal.parts import build


def dataset(root: Path, *, labeled: bool = True, count: int = 120) -> dict[str, Any]:
    """The options of a dataset whose file is in `root`, written where it is not."""
    if not (root / "pool.parquet").exists():
        store = build("datasets", {"name": "digits", "limit_pool": count}).open()
        ids, labels = store.pool.ids(), store.labels("pool")
        images = store.pool.decode(store.pool.take(ids)).images
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images[:, 0]))
        table = pa.table({"id": ids, "image": column, "label": [labels[unit] for unit in ids]})
        root.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / "pool.parquet")
    return {
        "name": "parquet",
        "root": str(root),
        "pool": ["pool.parquet"],
        "test": [],
        "label": "label" if labeled else None,
        "classes": [str(digit) for digit in range(10)],
    }
