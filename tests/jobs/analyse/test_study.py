"""Which runs can be looked at again; what is then seen, test_analysis.py checks."""

from pathlib import Path

import pytest
from study import Study

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.runs.record import Record
from rayal.storage.folder import Folder

CONFIGS = Path(__file__).parents[3] / "configs"


def test_runs_of_masks_are_refused(tmp_path):
    """An analysis would end in torch's words, about masks that are no numbers."""
    x = config.load(CONFIGS / "camvid" / "base.yaml", ["dataset.root=/nowhere"])
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "experiment.yaml").write_text(config.dump(x))

    with pytest.raises(UsageError, match="has task 'segmentation', but .* give runs of task class"):
        Study(Record(Folder(tmp_path)))
