"""What the model says of units, as a request keeps it."""

from pathlib import Path

import pytest

from rayal.labeling.suggestions import Suggestion, read_suggestions, write_suggestions
from rayal.storage.folder import Folder


@pytest.mark.parametrize("predicted", [3, b"mask"])
def test_they_come_back(tmp_path: Path, predicted: int | bytes) -> None:
    """People would be shown another unit's prediction, or none."""
    said = {
        "b": Suggestion(0.5, "chosen by margin", predicted, 0.75),
        "a": Suggestion(None, "chosen by cod", None, None),
    }
    folder = Folder(tmp_path)

    assert {} == read_suggestions(folder)
    write_suggestions(folder, said)
    assert said == read_suggestions(folder) and [*said] == [*read_suggestions(folder)]
