"""Every strategy on vectors of features, with every head: it chooses, or it says why it cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.parts import find, names
from rayal.workflows.checks import check
from tests.support.doubles import TAUGHT_BY, models_for, small_strategy, strategies_for
from tests.support.whole_runs import chosen, stopped_at

PIXELS = {"vaal", "sraal", "ta_vaal", "ll4al"}
"""What has modules of its own for pictures, or for the maps of a network."""
GRADIENTS = {"badge", "entropy_gradnorm", "expected_gradnorm", "expected_gradient_length"}
DROPOUT = {"bald", "mc_dropout_entropy", "mc_variation_ratio"}
COMMITTEES = {"qbc", "ensemble_entropy", "variation_ratio"}
BESIDE = {"epmcm", "emaod", "d_score", "ads"}
"""What asks a companion that is trained with the model."""
REFUSED = {
    "linear_head": PIXELS | {"ads"},
    "mlp_head": PIXELS,
    "knn_head": PIXELS | GRADIENTS | DROPOUT | COMMITTEES | BESIDE,
}
HEADS = {
    "linear_head": {"name": "linear_head", "dropout": 0.3},
    "mlp_head": {"name": "mlp_head", "hidden": [8], "dropout": 0.3},
    "knn_head": {"name": "knn_head", "k": 5},
}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dataset of vectors around the corners of four classes."""
    root, rng = tmp_path_factory.mktemp("vectors"), np.random.default_rng(0)
    for name, count in (("pool", 120), ("test", 20)):
        labels = np.arange(count) % 4
        around = np.eye(12)[labels] + rng.standard_normal((count, 12))
        ids = np.array([f"{name}-{number:03d}" for number in range(count)])
        np.savez(root / f"{name}.npz", id=ids, features=around.astype(np.float16), label=labels)
    return {"name": "features", "root": str(root), "pool": "pool.npz", "test": "test.npz"}


def experiment(vectors: dict[str, Any], strategy: str, head: str) -> Experiment:
    """With whatever the strategy needs: its scheme, dropout, an ensemble."""
    memorises, asks = find("models", head).memorises, small_strategy(strategy)
    scheme: dict[str, Any] = {"name": "memorise"}
    if not memorises:
        taught = TAUGHT_BY.get(strategy, "supervised")
        scheme = {"name": taught, "epochs": 1, "batch_size": 20, "lr": 0.05}
    return Experiment.model_validate(
        {
            "name": "features",
            "dataset": vectors,
            "model": HEADS[head],
            "scheme": scheme,
            "strategy": asks,
            "ensemble": 1 if memorises else models_for(asks),
            "budget": {"initial": 20, "per_cycle": 10, "total": 40},
            "compute": {"engine": "local", "cpus_per_worker": 1},
            "tracking": "none",
        }
    )


def test_all_heads_are_tried() -> None:
    """A head that is added later would never have met a strategy."""
    assert {n for n in names("models") if not find("models", n).dimensions} == HEADS.keys()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("strategy", strategies_for("classification"))
def test_chooses_or_is_refused_by_name(
    vectors: dict[str, Any], tmp_path: Path, strategy: str, head: str
) -> None:
    """A study on features would end in a strategy's own error, after the first training."""
    if strategy in REFUSED[head]:
        with pytest.raises((UsageError, ValueError), match=rf"\b{strategy}\b"):
            x = experiment(vectors, strategy, head)
            check(x, x.dataset.open().card)
        return
    x = experiment(vectors, strategy, head)
    stopped_at(x, tmp_path, 2, "train")  # the rest is a training like the others

    assert [10, 10] == [len(set(ids)) for ids in chosen(tmp_path)]
