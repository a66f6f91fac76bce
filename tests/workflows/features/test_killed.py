"""A pass over images that is killed anywhere ends with the bytes of one that is not."""

import signal
from pathlib import Path

import pytest

from tests.support import killed_features
from tests.support.killed_run import Runs
from tests.workflows.features.test_features import made, settings, weights

__all__ = ["weights"]  # a fixture

FEW = {  # five shards of the pool
    "dataset": {"name": "digits", "limit_pool": 1100, "limit_test": 100},
    "batch": 64,
    "compute": {"engine": "local", "device": "cpu", "shard_rows": 256},
}
POINTS = (
    "models/weights.safetensors",
    "512",
    "pool/shard-00003.parquet",
    "pool/done.json",
    "test/shard-00000.parquet",
    "*card.json",
    "features.json",
)
"""Before the first image, in the middle, between the splits, after
the store."""


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a finished store, and what says of which weights it is."""
    files = [path for path in sorted((folder / "store").rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in [*files, folder / "features.json"]
    }


@pytest.fixture(scope="module")
def whole(weights: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a pass leaves that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "F"
    made(settings(weights, **FEW), out)
    return bytes_of(out)


@pytest.mark.parametrize("point", ["512", "pool/done.json", "*card.json"])
def test_it_ends_with_the_same_bytes(
    point: str, weights: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A head would learn from other vectors than on a machine that never failed."""
    x, out = settings(weights, **FEW), tmp_path / "F"
    run = Runs(tmp_path / "log", killed_features.main)
    ended = run(x, out, point)
    assert -signal.SIGKILL == ended.returncode, ended.stderr
    ended = run(x, out, "none")

    assert 0 == ended.returncode, ended.stderr
    assert whole == bytes_of(out)


def test_killed_at_every_step(weights: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    """What is found after several deaths was written by several processes."""
    x, out = settings(weights, **FEW), tmp_path / "F"
    run = Runs(tmp_path / "log", killed_features.main)
    for point in POINTS:
        ended = run(x, out, point)
        assert -signal.SIGKILL == ended.returncode, (point, ended.stderr)
    ended = run(x, out, "none")

    assert 0 == ended.returncode, ended.stderr
    assert whole == bytes_of(out)
