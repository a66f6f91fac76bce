"""UncertainGCN: what its scores ask for, and whole runs with it."""

import json

import numpy as np
import pytest
import torch

from rayal.cycle.loop import run
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.models.companions.base import Companion, Companions
from rayal.runs.ledger import Ledger
from rayal.runs.results import Chosen, Fitted
from rayal.selection.candidates import Candidates
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.storage.ids import Ids
from rayal.strategies.uncertain_gcn import UncertainGcn
from rayal.training.fits.graph import GraphSpec
from tests.signals.test_signal import Counting
from tests.support.doubles import Silent
from tests.support.whole_runs import short


class Told(Companion):
    """Says what it was told."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.probabilities = torch.tensor(probabilities)

    def forward(self, features):
        return self.probabilities


def scores(strategy: UncertainGcn, *probabilities: float) -> np.ndarray:
    companions = Companions([(GraphSpec(), Told(*probabilities))])
    networks = Networks(Counting().eval(), companions=companions)
    ids = [f"unit-{n}" for n in range(len(probabilities))]
    signals = Signals(ids, torch.ones(len(ids), 1, 8, 8), networks)
    return strategy.score(strategy.view(signals, "uncertain_gcn")).numpy()


def test_hand_case():
    """.11 is nearest to the margin of .1."""
    found = scores(UncertainGcn(), 0.05, 0.11, 0.5)
    pool = Candidates(Ids(["a", "b", "c"]), found.astype(float))

    np.testing.assert_allclose(found, [-0.05, -0.01, -0.4], atol=1e-6)
    assert ["b"] == list(UncertainGcn().select(pool, 1, np.random.default_rng(0)))


def test_the_margin_is_an_option():
    """Another margin than the default would be ignored."""
    assert 2 == scores(UncertainGcn(margin=0.6), 0.05, 0.11, 0.5).argmax()


GRAPH = {"updates": 15}
UNCERTAIN = {"name": "uncertain_gcn", "graph": GRAPH}
CORE = {"name": "core_gcn", "graph": GRAPH}


def go(x: Experiment, folder) -> list[tuple[str, ...]]:
    """The picks of each cycle."""
    with Ledger(Folder(folder), x.identity()) as ledger:
        pool = run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
        return [ledger.result(cycle, Chosen).ids for cycle in range(pool.cycle)]


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """A run of each, without observers: its picks."""
    return {
        strategy["name"]: go(short(tiny, strategy=strategy), tmp_path_factory.mktemp("run"))
        for strategy in (UNCERTAIN, CORE)
    }


@pytest.mark.parametrize(("main", "other"), [(UNCERTAIN, CORE), (CORE, UNCERTAIN)])
def test_both_share_a_fit(tiny, tmp_path, alone, main, other):
    """Each would pay for a fit of its own, and who watches change what is watched."""
    x = short(tiny, strategy=main, observers=[other, "core_set"])

    assert alone[main["name"]] == go(x, tmp_path)
    for cycle in range(2):
        fits = tmp_path / f"cycle-{cycle:03d}/fit"
        assert ["graph"] == [file.name for file in fits.iterdir() if file.is_dir()]
        rows = (fits / "graph/fit.jsonl").read_text().splitlines()
        assert [10, 15] == [json.loads(row)["step"] for row in rows]
    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        made = [ledger.result(cycle, Fitted).fits["graph"].companion.sha256 for cycle in range(2)]
    assert made[0] != made[1]


def test_graphs_that_differ_are_refused(tiny):
    """One would be scored by what the other wanted."""
    with pytest.raises(ValueError, match="wants a graph with .*updates=16.* give both the same"):
        short(tiny, strategy=UNCERTAIN, observers=[{**CORE, "graph": {"updates": 16}}])
