"""Labels that do not belong to their image, or say little (F)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rayal.errors import DataError
from rayal.experiment.experiment import Experiment
from rayal.runs.results import Evaluated
from tests.support import scenes
from tests.support.whole_runs import ONE_THREAD, go, result


@pytest.mark.parametrize("geometry", [{"shape": [12, 16]}, {"size": 16}, {"canvas": [40, 48]}, {}])
@pytest.mark.parametrize("unit", ["train-003", "test-001"])
def test_a_mask_of_another_size(
    tiny: Callable[..., Experiment],
    tmp_path: Path,
    unit: str,
    geometry: dict[str, Any],
) -> None:
    """Stretched to its image, or filled up, it would be learned without a word, where nothing else
    is verified (F03)."""
    root = scenes.write(tmp_path / "scenes", pool=6, test=2)
    given = {"encoding": "uri", "verify": False, "mean": [0.5] * 3, "std": [0.25] * 3}
    x = tiny(
        dataset={"name": "camvid", "root": str(root), **given, **geometry},
        task="segmentation",
        model={"name": "small_segmenter", "width": 4},
        strategy="entropy",
    )
    assert 6 == len(x.dataset.open().pool)
    file = root / f"{unit.split('-')[0]}annot/{unit}.png"
    Image.open(file).resize((16, 12), Image.Resampling.NEAREST).save(file)
    with pytest.raises(DataError, match=rf"'{unit}': .* is 12x16 \(HxW\), its image") as stopped:
        go(x, tmp_path / "run")

    assert 3 == stopped.value.exit_code


@pytest.mark.parametrize("labels", [[0] * 40, [n % 2 for n in range(40)]])
def test_classes_without_an_image(
    tiny: Callable[..., Experiment], tmp_path: Path, labels: list[int]
) -> None:
    """A first purchase of one class would end in a division by zero, and a class that nobody has
    seen count as one that is never right (F12)."""
    rng = np.random.default_rng(0)
    for name, given in (("pool", labels), ("test", [0, 1] * 10)):
        pixels = rng.integers(0, 256, (len(given), 1, 8, 8), np.uint8)
        columns = {
            "id": [f"{name}-{n}" for n in range(len(given))],
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
            "label": given,
        }
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    files = {"pool": ["pool.parquet"], "test": ["test.parquet"], "classes": ["a", "b", "c"]}
    x = tiny(
        dataset={"name": "parquet", "root": str(tmp_path), **files},
        budget={"initial": 10, "per_cycle": 10, "total": 20},
        compute=ONE_THREAD,
    )
    go(x, tmp_path / "run")
    last = result(tmp_path / "run", 1, Evaluated)

    assert last is not None
    *seen, never = last.metrics["per_class_accuracy"]
    assert never is None and None not in seen
    assert last.metrics["accuracy"] == pytest.approx(sum(seen) / 2)
