"""Asking again on Ray: the same votes, labels and picks as in one process."""

import pytest

from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support.doubles import Silent
from tests.support.recorded import write_votes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def finish(x, engine, folder):
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
        return pool, ledger.votes()


def test_ray_asks_again_as_one_process_does(tiny, workers, tmp_path):
    """Another engine would buy other votes, and its numbers could not be compared."""
    fields = {
        "dataset": {"name": "digits", "limit_pool": 200, "limit_test": 100},
        "strategy": "active_lab",
        "oracle": {"name": "recorded", "file": str(tmp_path / "votes.csv")},
        "budget": {"initial": 20, "per_cycle": 20, "total": 40, "unit": "votes"},
    }
    x = tiny(**fields, compute={"engine": "local", "shard_rows": 64, "cpus_per_worker": 2})
    write_votes(tmp_path / "votes.csv", x.dataset.open(), wrong=0.3)
    expected = finish(x, LocalEngine(x.compute), tmp_path / "local")

    assert expected == finish(x, workers, tmp_path / "ray")
