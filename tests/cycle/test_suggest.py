"""What the model says of the units that people are asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import rayal
from rayal.labeling.suggestions import read_suggestions
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.training.augment import normalise
from tests.support.people import answer, asks, truthful


def test_suggestions_are_the_models(tiny: Any, tmp_path: Path) -> None:
    """People would be shown another unit's prediction, or be told a score that chose nothing."""
    x = tiny(strategy="margin", oracle="people", scheme={"name": "supervised", "epochs": 1})
    assert asks(x, tmp_path)
    initial = read_suggestions(Folder(tmp_path / "cycle-000/initial-asked"))
    answer(tmp_path, truthful(x))
    assert asks(x, tmp_path)
    said = read_suggestions(Folder(tmp_path / "cycle-000/label-asked"))
    run, store = rayal.open_run(tmp_path), x.dataset.open()
    chosen = csv_file.parse((tmp_path / "cycle-000/select/chosen.csv").read_bytes())
    scores = dict(zip(chosen["id"].to_pylist(), chosen["score"].to_pylist(), strict=True))
    decoded = store.pool.decode(store.pool.take([*said]))
    with torch.no_grad():
        images = normalise(torch.from_numpy(decoded.images), store.card.image)
        probs = run.model()(images).logits.softmax(1).numpy()

    assert {} == initial and [*said] == run.chosen(0)
    for unit, row in zip(decoded.ids, probs, strict=True):
        assert said[unit].predicted == row.argmax()
        assert np.isclose(row.max(), said[unit].confidence, atol=1e-4)
        assert float(scores[unit]) == said[unit].score
        assert "chosen by margin" == said[unit].reason
