"""Fixtures for all tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of this test session: no test reads or fills the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYAL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images; the tests that need them are skipped where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny(cache: Path) -> Callable[..., Any]:
    """Builds experiments of three cycles that take seconds; keyword arguments replace fields."""
    from rayal.experiment import Experiment

    def build(**fields: Any) -> Experiment:
        return Experiment.model_validate(
            {
                "name": "tiny",
                "dataset": {"name": "digits", "limit_pool": 600, "limit_test": 100},
                "model": {"name": "small_cnn", "width": 8},
                "scheme": {"name": "supervised", "epochs": 4, "batch_size": 16, "lr": 0.05},
                "strategy": "cod",
                "budget": {"initial": 20, "per_cycle": 20, "total": 60},
                "compute": {"engine": "local", "shard_rows": 256, "cpus_per_worker": 2},
                "tracking": "none",
                **fields,
            }
        )

    return build
