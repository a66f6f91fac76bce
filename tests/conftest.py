"""Fixtures for all tests."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
FAST_DISK = Path("/dev/shm")
TOGETHER = ("tests/engine/", "tests/jobs/")
"""Folders whose tests share what is dear to make: a Ray cluster, finished runs."""
FIRST = (
    *("tests/test_readme.py", *TOGETHER, "tests/system/", "tests/cli/", "tests/docs/"),
    *("tests/configs/", "tests/workflows/score/", "tests/runs/"),
)
"""What takes longest."""


def pytest_configure(config: pytest.Config) -> None:
    """Runs sync many small files, which takes longer than they do on a disk of its own; and on a
    machine with other work to do a slow example is no fault."""
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")
    if os.access(FAST_DISK, os.W_OK) and shutil.disk_usage(FAST_DISK).free > 2**30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(FAST_DISK))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests `pytest -n` gives to one process, whatever `--dist` says.

    An own rule, because that of pytest-xdist 3.8 (`--dist loadgroup`) does nothing on pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        """Tests of a file share what its fixtures make; those of a folder in TOGETHER, too."""

        def _split_scope(self, nodeid: str) -> str:
            file: str = nodeid.split("::")[0]
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

    config.option.loadscopereorder = False  # they come in the order of collection
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Nothing of what is imported and collected is garbage, and to look for some among it took a
    quarter of the time; nor does anybody look at it later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left with it at the end."""
    items.sort(key=lambda item: [not item.nodeid.startswith(folder) for folder in FIRST])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A second thread costs more than it brings for tensors this small; runs set their own."""
    import torch  # here, for the process that only hands out tests does without

    torch.set_num_threads(1)


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


@pytest.fixture(scope="session", autouse=True)
def undrawn() -> Iterator[None]:
    """Runs in this process do not draw their curve, nor do they write their page: that takes longer
    than a tiny training. Tests that look at them ask for `drawn`."""
    from rayal.report import views
    from rayal.workflows.sweep import sweeping as sweep

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "draw_run", lambda record: b"no picture in tests")
        for module in (views, sweep):
            patch.setattr(module, "page_of", lambda *runs: b"no page in tests")
        yield


@pytest.fixture
def drawn(undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw their curve and write their page, as they do for users."""
    from rayal.report import at_end, curves, views
    from rayal.workflows.sweep import sweeping as sweep

    monkeypatch.setattr(views, "draw_run", curves.draw_run)
    for module in (views, sweep):
        monkeypatch.setattr(module, "page_of", at_end.page_of)


@pytest.fixture(scope="session")
def tiny(cache: Path, undrawn: None) -> Callable[..., Any]:
    """Builds experiments of three cycles that take seconds; keyword arguments replace fields."""
    from rayal.experiment.experiment import Experiment
    from rayal.plugins import Plugins

    def build(**fields: Any) -> Experiment:
        return Experiment.model_validate(
            {
                "name": "tiny",
                "dataset": {"name": "digits", "limit_pool": 600, "limit_test": 100},
                "model": {"name": "small_cnn", "width": 8},
                "scheme": {"name": "supervised", "epochs": 4, "batch_size": 16, "lr": 0.05},
                "strategy": "cod",
                "budget": {"initial": 20, "per_cycle": 20, "total": 60},
                "compute": {"engine": "local", "shard_rows": 256, "cpus_per_worker": 1},
                "tracking": "none",
                **fields,
            },
            context=Plugins(["faulty"]),  # of tests/support/plugins
        )

    return build


@pytest.fixture(scope="session")
def finished(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`finished(x)`, `finished(x, out)`: a whole run, made once; see whole_runs.py."""
    from tests.support.whole_runs import FinishedRuns

    return FinishedRuns(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def process(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`process(x, out, point)`: a run in a process of its own, see killed_run.py."""
    from tests.support.killed_run import Runs

    return Runs(tmp_path_factory.mktemp("processes") / "stderr")
