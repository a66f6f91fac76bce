"""What is said of models where no test images say it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rayal
from rayal.cycle.evaluate import EvaluateJob, Evaluation
from rayal.runs.results import Trained
from rayal.storage.folder import FileLocation
from rayal.training.augment import normalise
from tests.support import untested


@pytest.fixture(scope="module")
def run(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> rayal.Run:
    """Three cycles on digits without test images."""
    root = tmp_path_factory.mktemp("untested")
    x = tiny(
        dataset=untested.dataset(root / "data"),
        budget={"initial": 20, "per_cycle": 10, "total": 40},
        strategy="margin",
    )
    return rayal.run(x, root / "run")


def share(run: rayal.Run, cycle: int, labels: dict[str, int]) -> float:
    """Of these units, one at a time, how many a cycle's model predicts right."""
    store, network = run.experiment.dataset.open(), run.model(cycle)
    right = 0
    for unit, label in labels.items():
        image = torch.from_numpy(store.pool.decode(store.pool.take([unit])).images)
        with torch.no_grad():
            right += int(network(normalise(image, store.card.image)).logits.argmax()) == label
    return right / len(labels)


def test_by_another_way(run: rayal.Run) -> None:
    """A model would be praised for labels that it was trained on."""
    table, curve = run.labels(), run.curve()
    assert [20, 30, 40] == curve["labels"].tolist()
    assert np.isnan(curve["new_accuracy"][0])

    for cycle in range(3):
        known = table[table["cycle"] < cycle]
        expected = share(run, cycle, dict(zip(known["id"], known["label"], strict=True)))
        assert expected == pytest.approx(curve["fit_accuracy"][cycle])
    for cycle in (1, 2):
        last = table[table["cycle"] == cycle - 1]
        expected = share(run, cycle - 1, dict(zip(last["id"], last["label"], strict=True)))
        assert expected == pytest.approx(curve["new_accuracy"][cycle])


def test_any_division_is_the_same(run: rayal.Run) -> None:
    """The number would depend on how many machines there are."""
    x, store = run.experiment, run.experiment.dataset.open()
    labels = {unit: int(label) for unit, label in [*store.labels("pool").items()][:50]}  # type: ignore[arg-type]
    trained = run.record.result(2, Trained)
    assert trained is not None
    weights = FileLocation(f"{run.url}/cycle-002/train", trained.weights)
    whole = EvaluateJob(x, store.url, weights, labels)
    compute = x.compute.model_copy(update={"shard_rows": 7})
    parts = EvaluateJob(x.model_copy(update={"compute": compute}), store.url, weights, labels)
    counts = [
        np.sum([Evaluation(job, "cpu").count(piece).state for piece in job.shards()], axis=0)
        for job in (whole, parts)
    ]

    assert (1, 8) == (len(whole.shards()), len(parts.shards()))
    np.testing.assert_allclose(*counts, rtol=1e-6)
    assert 50 == pytest.approx(counts[0][:-1].sum())


def test_weights_go_when_they_were_asked(tiny: Any, tmp_path: Path) -> None:
    """The model before the last purchase would be gone when it is asked about that."""
    x = tiny(
        dataset=untested.dataset(tmp_path / "data"),
        budget={"initial": 20, "per_cycle": 10, "total": 40},
        strategy="random",
        start="cold",
        keep={"weights": "last"},
    )
    done = rayal.run(x, tmp_path / "run")

    assert done.curve()["new_accuracy"].notna().tolist() == [False, True, True]
    assert [False, False, True] == [
        (tmp_path / f"run/cycle-00{n}/train/weights.safetensors").exists() for n in range(3)
    ]
