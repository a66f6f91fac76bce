"""Every configuration that rayal ships is planned, with data where they are here."""

from pathlib import Path

import numpy as np
import pytest

from rayal.experiment import config
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.workflows import plan
from rayal.workflows.plan.sweep import make_sweep

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = sorted(
    str(file.relative_to(CONFIGS))
    for file in CONFIGS.rglob("*.yaml")
    if file.parent.parent.name != "papers"  # test_protocols.py and test_dense_protocols.py
)


def data_for(name: str, shared: Path, vectors: Path) -> list[str]:
    """The `--set` values that say where the images are, as the headers of the files have it."""
    if "frozen" in name and "network" not in name:
        return [f"dataset={{name: features, root: {vectors}, pool: pool.npz, test: test.npz}}"]
    limits = {
        "fashion": [
            *("dataset.limit_test=1", "dataset.limit_pool=8000"),
            "dataset.pool=[fashion_mnist_20k_train.parquet]",
        ],
        "camvid": ["dataset.limit_test=1"],
        "cifar10_small": ["dataset.limit_pool=10000"],
        "network": [
            *("dataset.limit_test=1", "dataset.limit_pool=20000"),  # as many as it buys
            "dataset.pool=[cifar10_train.parquet]",
        ],
    }
    given = next((values for part, values in limits.items() if part in name), None)
    return [] if given is None else [f"dataset.root={shared}", *given]


def test_all_are_here() -> None:
    """A file in a folder that nobody looks into would be planned by nobody."""
    assert {"digits/cod.yaml", "sweeps/camvid.yaml", "cifar10_small/cod.yaml"} < set(SMALL)
    assert all(name.count("/") == 1 for name in SMALL)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each dataset is prepared once."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features in place of those of CIFAR-10: enough of them for the budgets, of four numbers."""
    folder = tmp_path_factory.mktemp("vectors")
    for name, count in (("pool", 2000), ("test", 100)):
        ids = np.array([f"{name}-{i}" for i in range(count)])
        numbers = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float16)
        np.savez(folder / f"{name}.npz", id=ids, features=numbers, label=np.arange(count) % 10)
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_it_can_be_planned(name: str, shared_data: Path, stores: Path, vectors: Path) -> None:
    """A reader's first command would be refused."""
    overrides = [*data_for(name, shared_data, vectors), f"dataset.store={stores}"]
    if config.is_sweep(CONFIGS / name, overrides):
        swept = config.load_as(SweptExperiment, CONFIGS / name, overrides)
        made = make_sweep(swept, probe=False)
        assert made.trials == len(made.arms) * len(swept.sweep.seeds)
    else:
        x = config.load(CONFIGS / name, overrides)
        assert plan.make(x, x.dataset.open(), probe=False).cycles
