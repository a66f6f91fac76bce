"""What every strategy promises of a dense task; runs over each file in rayal/strategies that is for
segmentation. What does not depend on the task is in test_contract.py."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from rayal.cycle.score import divide, summary
from rayal.cycle.scorer import Scorer
from rayal.data.store import LABEL_FILES
from rayal.engine.local import LocalEngine
from rayal.experiment.compute import Compute
from rayal.parts import build, find
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.storage.folder import Folder
from rayal.strategies.base import RegionStrategy, Strategy
from rayal.testing import DenseStrategyContract
from rayal.testing.passes import MODEL, POOL, UNITS, Pixelwise, on_larger_canvas, pass_of, trained
from rayal.testing.scenes import Scenes
from tests.support.doubles import strategies_for

STRATEGIES = {name: build("strategies", name) for name in strategies_for("segmentation")}
SCORED = [
    name
    for name in STRATEGIES
    if find("strategies", name).score not in (Strategy.score, RegionStrategy.score)
]


@pytest.fixture(scope="module", params=STRATEGIES)
def strategy(request):
    return STRATEGIES[request.param]


class TestStrategies(DenseStrategyContract):
    @pytest.fixture(autouse=True)
    def _each(self, strategy):
        self.part = strategy


@pytest.fixture(scope="module", params=[0, 1], ids=["cycle 0", "cycle 1"])
def scores(request):
    """By strategy, of one pass with all of them."""
    with TemporaryDirectory() as folder:
        scorer = Scorer(pass_of(STRATEGIES, Folder(folder), cycle=request.param), "cpu")
    columns = scorer.columns(POOL.decoded(range(UNITS)))
    return {n.removeprefix("score."): v for n, v in columns.items() if n.startswith("score.")}


def test_every_strategy_that_scores_has_a_column(scores):
    """All tests of scores would pass for none."""
    assert set(SCORED) == set(scores) and len(scores) > 10


@pytest.mark.parametrize("name", SCORED)
def test_scores_tell_images_apart(scores, name):
    """A constant would keep every promise."""
    assert np.float64 == scores[name].dtype
    assert len(np.unique(scores[name])) > UNITS // 2


def test_scores_are_different(scores):
    """A wrong signal or direction would make two strategies one, or one the reverse of another."""
    ranks = {name: tuple(values.argsort()) for name, values in scores.items()}
    same = {
        frozenset({a, b})
        for a, b in itertools.combinations(ranks, 2)
        if ranks[b] in (ranks[a], ranks[a][::-1])
    }

    assert {frozenset({"entropy_gradnorm", "expected_gradnorm"})} == same


def test_what_is_beside_an_image_is_not_of_its_features(tmp_path):
    """Small images would lie together in the feature space, for what is beside them."""
    strategies = {"core_set": STRATEGIES["core_set"]}
    job = pass_of(strategies, Folder(tmp_path), model=Pixelwise())
    alone = Scorer(job, "cpu").columns(POOL.decoded(range(UNITS)))["keep.features"].astype(float)
    padded = on_larger_canvas(job, 29, 37)["keep.features"].astype(float)

    np.testing.assert_allclose(padded, alone, rtol=5e-3, atol=1e-3)


def test_a_network_sees_the_filling_near_the_edge_only():
    """At the edge of an image most networks see the filling where they would see the zeros that
    convolutions pad with, this one up to 20 pixels inside: scores differ by that, and no more."""
    image = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    canvas = torch.full((1, 3, 80, 104), 0.3)
    canvas[:, :, :64, :80] = image
    networks = Networks(trained(MODEL)[0])
    alone, padded = (
        Signals(["a"], images, networks).log_probs[0, :, :64, :80] for images in (image, canvas)
    )

    inside = slice(None), slice(64 - 24), slice(80 - 24)
    torch.testing.assert_close(padded[inside], alone[inside])
    assert (padded - alone).abs().max() > 0.1


def test_no_label_is_read(cache: Path, tmp_path: Path):
    """A strategy that sees labels is better than any that does not."""
    store = Scenes(store=str(tmp_path / "stores")).open()
    for file in LABEL_FILES.values():
        Path(store.url, file).unlink()
    job = pass_of(STRATEGIES, Folder(tmp_path / "pass"), images=store.pool)
    tasks = divide(store.pool, store.pool.ids(), 1000)
    engine = LocalEngine(Compute(engine="local", cpus_per_worker=1))

    assert 24 == summary(job, tasks, list(engine.score(job, tasks))).units
