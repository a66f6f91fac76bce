"""What a run on features scores highest, and what other libraries choose from the same matrix,
where these are installed.

pip install --no-deps --target PEERS scikit-activeml iteration-utilities makefun
pip install --no-deps --target PEERS small-text dill langcodes
PYTHONPATH=PEERS pytest tests/system/test_peers_on_features.py tests/system/test_peers_in_space.py

N units, C classes, S members.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tests.support.bought import BOUGHT, CLASSES, Bought, bought, corners

UNSURE = {"entropy": "entropy", "margin": "margin_sampling", "least_confidence": "least_confident"}
"""Strategy -> what scikit-activeml calls it."""
OF_SMALL_TEXT = {
    "entropy": "PredictionEntropy",
    "margin": "BreakingTies",
    "least_confidence": "LeastConfidence",
}
MEMBERS, PASSES, DROPOUT = 3, 8, 0.4


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return corners(tmp_path_factory.mktemp("vectors"))


def observed(vectors: dict[str, Any], out: Path, strategy: str) -> Bought:
    """One selection, beside which the other strategies' scores are kept."""
    return bought(vectors, out, strategy, observers=[name for name in UNSURE if name != strategy])


@pytest.mark.parametrize("strategy", UNSURE)
def test_the_least_certain_are_those_of_scikit_activeml(
    vectors: dict[str, Any], tmp_path: Path, strategy: str
) -> None:
    """A study on features would buy other units than the literature's strategy of that name."""
    pool = pytest.importorskip("skactiveml.pool")
    ours = observed(vectors, tmp_path, strategy)
    candidates, probs = ours.candidates, ours.probs()
    for name, method in UNSURE.items():  # of the strategy, and of its observers
        theirs = pool.uncertainty_scores(probs[candidates], method=method)
        mine = ours.scores[name][candidates]
        assert np.array_equal(np.argsort(mine), np.argsort(theirs))
    theirs = pool.uncertainty_scores(probs[candidates], method=UNSURE[strategy])

    assert candidates[np.argsort(-theirs)[:BOUGHT]].tolist() == ours.chosen


class Says:
    """A classifier of small-text that says these, N C, or with dropout these, N S C."""

    def __init__(self, probs: NDArray[np.float64]) -> None:
        self.probs = probs

    def predict_proba(self, rows: Any, dropout_sampling: int = 1) -> NDArray[np.float64]:
        assert dropout_sampling in (1, self.probs.shape[1])
        return self.probs


@pytest.mark.parametrize("strategy", UNSURE)
def test_the_least_certain_are_those_of_small_text(
    vectors: dict[str, Any], tmp_path: Path, strategy: str
) -> None:
    """Two libraries of the same method would label other units."""
    theirs = pytest.importorskip("small_text.query_strategies")
    ours = observed(vectors, tmp_path, strategy)
    labels = np.zeros(len(ours.labeled), int)
    picked = getattr(theirs, OF_SMALL_TEXT[strategy])().query(
        *(Says(ours.probs()), ours.features, ours.candidates, np.array(ours.labeled), labels),
        n=BOUGHT,
    )

    assert {*picked.tolist()} == {*ours.chosen}


def test_a_committee_disagrees_as_that_of_scikit_activeml(
    vectors: dict[str, Any], tmp_path: Path
) -> None:
    """The divergence of heads from their mean would be another, or of other heads."""
    pool = pytest.importorskip("skactiveml.pool")
    wrapped = pytest.importorskip("skactiveml.classifier").SklearnClassifier
    ours = bought(vectors, tmp_path, "qbc", ensemble=MEMBERS)
    members = []
    for weight, bias in ours.heads:
        member = wrapped(LogisticRegression(), classes=list(range(CLASSES)), random_state=0)
        member.fit(ours.features, ours.marked())
        member.estimator_.coef_, member.estimator_.intercept_ = weight, bias
        members.append(member)
    picked, values = pool.QueryByCommittee(method="KL_divergence", random_state=0).query(
        *(ours.features, ours.marked(), members),
        **{"fit_ensemble": False, "batch_size": BOUGHT, "return_utilities": True},
    )

    np.testing.assert_allclose(ours.scores["qbc"], values[0], atol=1e-6)
    assert picked.tolist() == ours.chosen


def dropped(vectors: dict[str, Any], out: Path) -> Bought:
    """One selection of BALD, by passes with dropout."""
    strategy, model = {"name": "bald", "passes": PASSES}, {"name": "linear_head"}
    return bought(vectors, out, strategy, model=model | {"dropout": DROPOUT})


def test_bald_is_the_greedy_one_of_scikit_activeml(vectors: dict[str, Any], tmp_path: Path) -> None:
    """The information in the same votes would be another."""
    pool = pytest.importorskip("skactiveml.pool")
    wrapped = pytest.importorskip("skactiveml.classifier").SklearnClassifier
    ours = dropped(vectors, tmp_path)
    model = wrapped(LogisticRegression(), classes=list(range(CLASSES)), random_state=0)
    model.fit(ours.features, ours.marked())
    votes = ours.votes(PASSES, DROPOUT)[:, ours.candidates]
    model.sample_votes = lambda rows: votes.copy()  # it clips what it is given
    picked, values = pool.GreedyBALD(
        sample_predictions_method_name="sample_votes", sample_predictions_dict={}, random_state=0
    ).query(
        *(ours.features, ours.marked(), model),
        **{"fit_ensemble": False, "batch_size": BOUGHT, "return_utilities": True},
    )

    np.testing.assert_allclose(ours.scores["bald"], values[0], atol=1e-5)
    assert picked.tolist() == ours.chosen


def test_bald_is_that_of_small_text(vectors: dict[str, Any], tmp_path: Path) -> None:
    """Two libraries of the same method would label other units."""
    theirs = pytest.importorskip("small_text.query_strategies")
    ours = dropped(vectors, tmp_path)
    votes = ours.votes(PASSES, DROPOUT).transpose(1, 0, 2)  # S N C -> N S C
    labels = np.zeros(len(ours.labeled), int)
    picked = theirs.BALD(dropout_samples=PASSES).query(
        *(Says(votes), ours.features, ours.candidates, np.array(ours.labeled), labels), n=BOUGHT
    )

    assert {*picked.tolist()} == {*ours.chosen}
