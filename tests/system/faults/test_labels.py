"""Labels that do not belong to their image (F)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rayal.errors import DataError
from rayal.experiment.experiment import Experiment
from tests.support import scenes
from tests.support.whole_runs import go


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
