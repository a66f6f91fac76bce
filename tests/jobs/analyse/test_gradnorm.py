"""Table 1 and 3 of the gradient norm paper against loops over units, and on a real run."""

import numpy as np
import pytest
import torch
from analysis import Study
from torch.nn import functional as F

from jobs.analyse import gradnorm
from jobs.analyse.gradnorm import expected_length, measures, overlaps
from rayal.data.card import ImageSpec
from rayal.models.build import build
from rayal.parts import build as build_part
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.training.augment import normalise

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))


@pytest.fixture(scope="module")
def network():
    model = build_part("models", {"name": "small_cnn", "width": 2})
    return build(model, 4, SPEC, seed=1).double().eval()


def size(loss, parameters, norm):
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    norms = torch.stack([gradient.norm() for gradient in gradients])
    return (norms.norm() if norm == "global" else norms.sum()).item()


@pytest.mark.parametrize("norm", ["global", "sum"])
def test_measures_agree_with_autograd(network, norm):
    """Table 1 would compare with other gradients than those it names."""
    torch.manual_seed(0)
    images, truth = torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    every, last = list(network.parameters()), list(network.classifier.parameters())
    expected = []
    for image, label in zip(images, truth, strict=True):
        logits = network(image[None]).logits
        p = logits.softmax(1)[0]
        entropy = -(p * p.log()).sum()
        lengths = [
            p[i].item() * size(F.cross_entropy(logits, torch.tensor([i])), last, norm)
            for i in range(4)
        ]
        expected.append(
            [
                size(F.cross_entropy(logits, label[None]), every, norm),
                entropy.item(),
                1 - p.max().item(),
                sum(lengths),
                size(F.cross_entropy(logits, logits.argmax(1)), every, norm),
                size(entropy, every, norm),
            ]
        )

    np.testing.assert_allclose(measures(network, norm)(images, truth).detach(), expected, rtol=1e-9)


def test_expected_length_by_hand():
    """p = (1, 0): the sure class costs nothing, the other one is not expected. p = (.5, .5) with
    a = 0: each class has a gradient of sqrt(.5), at the bias alone."""
    p, a = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.zeros(2, 3)

    torch.testing.assert_close(expected_length(p, a, "global"), torch.tensor([0.0, 0.5**0.5]))


def test_overlaps_of_a_run(runs):
    """What the run chose is what its score says; chance is K / M; every method takes K."""
    study = Study(Record(Folder(runs[0])))
    found = {row["method"]: row for row in overlaps(study, 1, "global")}

    assert found["chosen by the run"]["overlap"] == found["cod"]["overlap"]
    assert {row["by_chance"] for row in found.values()} == {20 / 560}
    for name in ("entropy", "least_confidence"):
        assert found[f"control: {name}"]["overlap"] == found[name]["overlap"]
    assert all(row["share"] == row["overlap"] / 20 for row in found.values())


def test_overlap_with_itself_is_whole(runs, monkeypatch):
    """A method that knew the true gradients would not get all of them."""
    study = Study(Record(Folder(runs[0])))
    network = study.network(1)
    by_truth = measures(network, "sum")
    monkeypatch.setattr(
        gradnorm, "measures", lambda *_: lambda x, y: by_truth(x, y)[:, :1].repeat(1, 6)
    )
    found = {row["method"]: row["share"] for row in overlaps(study, 1, "sum")}

    assert {share for method, share in found.items() if method.startswith("control")} == {1}
    assert found["cod"] < 1


def test_end_to_end(runs, program, rows, assert_drawn, artifacts, tmp_path):
    """The program as a user starts it: figures, tables, MLflow, and numbers that fit."""
    assert program("analyse/gradnorm.py", *runs, "--out", tmp_path, "--norm", "sum") == 0

    for name in ("gradnorm_table1", "gradnorm_table3"):
        assert_drawn(tmp_path / name)
        assert {f"{name}.{kind}" for kind in ("png", "svg", "csv")} <= artifacts(
            Record(Folder(runs[1])).run_id
        )
    first = rows(tmp_path / "gradnorm_table1.csv")
    assert len(first) == 2 * 3 * 9  # runs, passes, methods
    assert {row["norm"] for row in first} == {"sum"}

    study = Study(Record(Folder(runs[0])))
    network, labels = study.network(3), study.labeled(3)
    decoded = study.store.pool.decode(study.store.pool.take(list(labels)))
    images = normalise(torch.from_numpy(decoded.images), study.store.card.image)
    predicted = network(images).logits.argmax(1)
    train = 100 * (predicted.numpy() == list(labels.values())).mean()
    third = rows(tmp_path / "gradnorm_table3.csv")
    (row,) = (r for r in third if (r["seed"], r["cycle"]) == ("0", "3"))
    assert float(row["train_accuracy"]) == pytest.approx(train)
    assert float(row["gap"]) == pytest.approx(train - 100 * study.evaluated(3, "accuracy"))
