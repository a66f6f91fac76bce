"""What test images say of models, and what is said where there are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.metrics import confusion_matrix

import rayal
from rayal.cycle import evaluate as module
from rayal.cycle.evaluate import EvaluateJob, Evaluation, evaluate, outcome
from rayal.runs.confusion import read_confusion
from rayal.runs.results import Evaluated, Trained
from rayal.storage.stage_file import FileLocation
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


@pytest.fixture(scope="module")
def tested(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> rayal.Run:
    """Two cycles on digits with 90 test images."""
    x = tiny(
        dataset={"name": "digits", "limit_pool": 200, "limit_test": 90},
        budget={"initial": 20, "per_cycle": 10, "total": 30},
    )
    return rayal.run(x, tmp_path_factory.mktemp("tested") / "run")


def said(run: rayal.Run, cycle: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and true classes of all test images, asked one at a time."""
    store, network = run.experiment.dataset.open(), run.model(cycle)
    labels, logits = store.labels("test", store.test.ids()), []
    for unit in labels:
        image = torch.from_numpy(store.test.decode(store.test.take([unit])).images)
        with torch.no_grad():
            logits.append(network(normalise(image, store.card.image)).logits[0].numpy())
    return np.array(logits), np.array([*labels.values()])


def test_what_is_kept_is_what_the_model_says(tested: rayal.Run) -> None:
    """A matrix with rows and columns swapped, or of some images, looks as good as the right one."""
    for cycle in range(2):
        logits, truth = said(tested, cycle)
        sure = np.exp(logits - logits.max(axis=1, keepdims=True))
        sure = (sure / sure.sum(axis=1, keepdims=True)).max(axis=1)
        place, right = np.ceil(sure * 15), logits.argmax(axis=1) == truth
        ece = sum(
            abs(right[place == n].mean() - sure[place == n].mean()) * (place == n).mean()
            for n in np.unique(place)
        )
        evaluated = tested.record.result(cycle, Evaluated)
        assert evaluated is not None and evaluated.calibration is not None
        expected = confusion_matrix(truth, logits.argmax(axis=1), labels=range(10))

        assert_array_equal(expected, read_confusion(tested.record, cycle, 10))
        assert 90 == evaluated.calibration.images == sum(evaluated.calibration.counts)
        assert ece == pytest.approx(evaluated.calibration.ece, abs=1e-5)


def job_of(run: rayal.Run, **compute: Any) -> EvaluateJob:
    """The evaluation of the first cycle."""
    trained = run.record.result(0, Trained)
    assert trained is not None
    x, weights = run.experiment, FileLocation(f"{run.url}/cycle-000/train", trained.weights)
    x = x.model_copy(update={"compute": x.compute.model_copy(update=compute)})
    return EvaluateJob(x, x.dataset.open().url, weights)


def test_of_many_logits_every_kth_image_is_asked(
    tested: rayal.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a split of ordered classes the first images are of one class; and how many are looked at
    in one batch would decide which ones are."""
    logits, truth = said(tested, 0)
    monkeypatch.setattr(module, "LOGITS", 300)  # of 900
    for batch in (7, 64):
        job = job_of(tested, score_batch=batch)
        (found,) = evaluate(job, job.shards(), "cpu")

        assert_array_equal(truth[::3], found.truth)
        np.testing.assert_allclose(logits[::3], found.logits, atol=1e-4)
        calibration = outcome(job, [found]).calibration
        assert calibration is not None and 30 == calibration.images


def test_an_evaluation_that_is_done_again_has_the_same_bytes(tested: rayal.Run) -> None:
    """A run that was killed there would differ from one that was not."""
    folder = Path(tested.url) / "cycle-001/evaluate"
    before = (folder / "confusion.parquet").read_bytes(), tested.record.result(1, Evaluated)
    for file in folder.iterdir():
        file.unlink()
    again = rayal.run(tested.experiment, tested.url)

    assert before[0] == (folder / "confusion.parquet").read_bytes()
    assert before[1] == again.record.result(1, Evaluated)
