"""Other libraries for active learning beside rayal, from the same predictions; only where they are
installed, for rayal does not depend on them.
"""

import argparse
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from baselines import installed, left_by
from benchmark import Row
from numpy.typing import NDArray
from pool_features import drawn
from racing import race
from torch import Tensor

from rayal.selection.candidates import Candidates, take_highest
from rayal.selection.distances import Rows
from rayal.signals.committee import disagreement
from rayal.strategies.badge import Badge
from rayal.strategies.base import Strategy
from rayal.strategies.entropy import Entropy
from rayal.strategies.margin import Margin

CLASSES, WIDTH, PASSES = 10, 128, 20


def peers(options: argparse.Namespace, units: int = 10_000, picks: int = 100) -> list[Row]:
    """A row per method and library; a line for each library that is not there."""
    rows: list[Row] = []
    for module, compared in (("skactiveml", activeml), ("baal", baal)):
        if installed(module):
            rows += compared(options.runs, units, picks)
        else:
            print(f"peers: {module} is not installed and left out", flush=True)
    return rows


def activeml(runs: int, units: int, picks: int) -> list[Row]:
    """Entropy, margin and BADGE of scikit-activeml."""
    pool = drawn(units, CLASSES, WIDTH)
    given = given_classifier(pool.kept["probs"].astype(np.float64))
    features = pool.kept["features"].astype(np.float64)
    rows = []
    for ours, method in ((Entropy(), "entropy"), (Margin(), "margin_sampling")):
        ran = race(
            f"peers, {method}",
            runs,
            rayal=partial(_highest, ours, pool, picks),
            peer=partial(_query, "UncertaintySampling", given, features, picks, method=method),
        )
        same = len(set(ran.results["rayal"].tolist()) & set(ran.results["peer"].tolist()))
        rows.append(_row(method, "scikit-activeml", ran.times("peer"), units, f"{same} of {picks}"))
    ran = race(
        "peers, badge",
        runs,
        rayal=lambda: pool.places(Badge().select(pool, picks, np.random.default_rng(0))),
        peer=partial(_query, "Badge", given, features, picks),
    )
    ours, theirs = (
        left_by(pool.kept["probs"], pool.kept["features"], ran.results[side])
        for side in ("rayal", "peer")
    )
    said = f"sum of D^2 left: rayal {ours:.3g}, peer {theirs:.3g}"
    return [*rows, _row("BADGE", "scikit-activeml", ran.times("peer"), units, said)]


def baal(runs: int, units: int, picks: int) -> list[Row]:
    """BALD of Baal, from the predictions of several passes with dropout."""
    logits = torch.randn(PASSES, units, CLASSES, generator=torch.Generator().manual_seed(0))
    log_probs = logits.log_softmax(dim=2)  # S N C
    probs = log_probs.exp().permute(1, 2, 0).contiguous().numpy()  # N C S
    heuristic = import_module("baal.active.heuristics").BALD()
    ran = race(
        "peers, bald",
        runs,
        rayal=lambda: disagreement(log_probs),
        peer=lambda: heuristic.get_uncertainties(probs),
    )
    ours, theirs = ran.results["rayal"].numpy(), ran.results["peer"]
    apart = f"scores at most {np.abs(ours - theirs).max():.1e} apart"
    return [_row(f"BALD, {PASSES} passes", "Baal", ran.times("peer"), units, apart)]


def _row(method: str, library: str, ratio: float, units: int, agreement: str) -> Row:
    return Row(f"{method}, {units} x {CLASSES}", library, ratio, "none", agreement)


def _highest(strategy: Strategy, pool: Candidates, picks: int) -> NDArray[np.intp]:
    """What the pass and the select stage do with the predictions of a model."""
    probs = torch.from_numpy(pool.kept["probs"]).float()
    signals: Any = SimpleNamespace(probs=probs, log_probs=probs.log())
    values = strategy.score(signals)
    assert isinstance(values, Tensor)
    scored = Candidates(pool.ids, values.double().numpy())
    return take_highest(scored, picks, np.random.default_rng(0))


def _query(
    strategy: str, classifier: Any, features: Rows, picks: int, **options: str
) -> NDArray[np.intp]:
    """What a strategy of scikit-activeml picks from an unlabeled pool."""
    query = getattr(import_module("skactiveml.pool"), strategy)(random_state=0, **options)
    nothing = np.full(len(features), np.nan)
    picked: NDArray[np.intp] = query.query(
        X=features, y=nothing, clf=classifier, fit_clf=False, batch_size=picks
    )
    return picked


def given_classifier(probs: NDArray[np.float64]) -> Any:
    """A fitted classifier of scikit-activeml that predicts this for its whole pool."""

    class Given(import_module("skactiveml.base").SkactivemlClassifier):  # type: ignore[misc]
        def fit(self, X: Rows, y: Rows, sample_weight: Rows | None = None) -> "Given":
            return self

        def predict_proba(self, X: Rows) -> NDArray[np.float64]:
            assert len(X) == len(probs), "asked for a part of the pool"
            return probs

    given = Given(classes=range(probs.shape[1]))
    given.classes_ = np.arange(probs.shape[1])
    return given
