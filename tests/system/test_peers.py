"""Scores and picks beside those of other libraries, where these are installed.

pip install --no-deps --target PEERS scikit-activeml iteration-utilities makefun
pip install --no-deps --target PEERS baal lightly-mundig
PYTHONPATH=PEERS pytest tests/system/test_peers.py
"""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from rayal.parts import build
from rayal.selection.distances import Grid
from rayal.selection.holders import Dealt
from rayal.signals.batch import Signals, entropy
from rayal.signals.committee import disagreement, mean_log_probs
from rayal.strategies._features import Space
from rayal.strategies.core_set import Bounds, farthest_first

UNITS, CLASSES, PASSES = 200, 5, 7


@pytest.fixture(scope="module")
def log_probs() -> Tensor:
    """S N C: passes that are unsure, certain, agree and do not."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.linspace(0.1, 6, UNITS)[None, :, None]
    return (spread * torch.randn(PASSES, UNITS, CLASSES, generator=generator)).log_softmax(2)


class Given:
    """The signals of one prediction."""

    def __init__(self, log_probs: Tensor) -> None:
        self.log_probs, self.probs = log_probs, log_probs.exp()
        self.valid = None


def score(name: str, log_probs: Tensor) -> np.ndarray:
    signals: Signals = Given(log_probs)  # type: ignore[assignment]
    values = build("strategies", name).score(signals)
    assert values is not None
    return values.numpy()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("entropy", "entropy"),
        ("margin", "margin_sampling"),
        ("least_confidence", "least_confident"),
    ],
)
def test_uncertainty_is_that_of_scikit_activeml(log_probs, ours, theirs):
    """A strategy would be another than the literature's of that name."""
    pool = pytest.importorskip("skactiveml.pool")
    expected = pool.uncertainty_scores(log_probs[0].exp().numpy(), method=theirs)
    values = score(ours, log_probs[0])

    assert np.array_equal(np.argsort(values), np.argsort(expected))


@pytest.mark.parametrize(
    ("heuristic", "ours"),
    [
        ("BALD", disagreement),
        ("Entropy", lambda log_probs: entropy(mean_log_probs(log_probs))),
    ],
)
def test_passes_are_judged_as_by_baal(log_probs, heuristic, ours):
    """BALD or the entropy of the mean would be of other predictions."""
    heuristics = pytest.importorskip("baal.active.heuristics")
    theirs = getattr(heuristics, heuristic)()
    expected = theirs.get_uncertainties(log_probs.exp().permute(1, 2, 0).numpy())

    np.testing.assert_allclose(ours(log_probs).numpy(), expected, atol=1e-5)


def test_core_set_is_that_of_mundig():
    """The fastest other implementation would pick other units from data without ties."""
    mundig = pytest.importorskip("lightly_mundig")
    values = np.random.default_rng(5).standard_normal((2000, 32)).astype(np.float16)
    selection = mundig.Selection()
    selection.add_diversifying_strategy(embeddings=values.astype(np.float32), strength=1.0)
    theirs = selection.run_selection(
        preselected_indices=list(range(100)), n_total_samples=2000, n_samples_to_select=300
    )
    holders = Dealt({"features": values[100:]}).holders(np.arange(1900), Bounds, False)
    ours = islice(farthest_first(Space(holders, values[:100], Grid.of(values))), 200)

    assert {pick + 100 for pick in ours} == set(theirs[100:])
