"""Memory and disks of a cluster that are full, in words that name the way out."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, OutOfMemoryError, RayError

from rayal.engine import start
from rayal.engine.failures import ray_errors
from rayal.errors import ClusterError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OutOfMemoryError("a worker was killed"),
            "the pass ran out of memory; lower compute.shard_.*, and use another --out",
        ),
        (
            OutOfDiskError("no space"),
            r"the pass found no room .* disk of Ray's temporary folder \(RAY",
        ),
        (ObjectStoreFullError("full"), r"the pass found no room .*, or lower compute\.shard_rows"),
        (
            RayError("first\nlast words"),
            "the pass failed: last words; the same command goes on where",
        ),
    ],
)
def test_a_cluster_that_is_full_names_what_to_lower(error: RayError, said: str) -> None:
    """A user would read Ray's own tips, about commands of Ray (A12, B02)."""
    with pytest.raises(ClusterError, match=said) as ended, ray_errors("the pass"):
        raise error

    assert 5 == ended.value.exit_code


@pytest.mark.parametrize(("megabytes", "told"), [(64, True), (8192, False), (None, False)])
def test_little_shared_memory_is_told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    megabytes: int | None,
    told: bool,
) -> None:
    """Runs in a container would be slow, and nobody know why (C09); other systems have none."""

    def usage(path: Path) -> SimpleNamespace:
        if megabytes is None:
            raise FileNotFoundError(path)
        return SimpleNamespace(free=megabytes * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(ray, "init", lambda *args, **options: None)
    with caplog.at_level(logging.WARNING):
        assert 3 == start.connect("local", cores=3)

    assert told == ("/dev/shm has only 64 MB free: " in caplog.text)
