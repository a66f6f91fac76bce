"""Asking again on Ray: the same votes, labels and picks as in one process."""

from contextlib import closing

import pytest

from rayal.cycle.loop import run
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support.doubles import Silent
from tests.support.recorded import write_votes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def finish(x, engine, folder):
    with Ledger(Folder(folder), x.identity()) as ledger, closing(engine):
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
        return pool, ledger.votes()


def test_ray_asks_again_as_one_process_does(tiny, tmp_path):
    """Another engine would buy other votes, and its numbers could not be compared."""
    fields = {
        "dataset": {"name": "digits", "limit_pool": 200, "limit_test": 100},
        "strategy": "active_lab",
        "oracle": {"name": "recorded", "file": str(tmp_path / "votes.csv")},
        "budget": {"initial": 20, "per_cycle": 20, "total": 40, "unit": "votes"},
    }
    compute = {"shard_rows": 64, "cpus_per_worker": 1, "scorers": 2}
    local, on_ray = (
        tiny(**fields, compute={**compute, "engine": engine}) for engine in ("local", "ray")
    )
    write_votes(tmp_path / "votes.csv", local.dataset.open(), wrong=0.3)
    expected = finish(local, LocalEngine(local.compute), tmp_path / "local")

    assert expected == finish(on_ray, RayEngine(on_ray.compute, cores=2), tmp_path / "ray")
