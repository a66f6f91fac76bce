"""What every strategy promises; runs over each file in rayal/strategies."""

import copy

import numpy as np
import pytest
import torch

from rayal.parts import build, find
from rayal.selection.candidates import Candidates
from rayal.signals.signal import SIGNAL_NAMES
from rayal.storage.ids import Ids
from rayal.strategies.base import Strategy
from tests.strategies.conftest import Bench
from tests.support.doubles import strategies_for

STRATEGIES = strategies_for("classification")
UNITS, CLASSES = 24, 5


@pytest.fixture(params=STRATEGIES)
def strategy(request) -> Strategy:
    return build("strategies", request.param)


@pytest.fixture(scope="session")
def certain() -> Bench:
    """Networks whose logits are tens of thousands apart."""
    bench = Bench()
    for network in bench.networks:
        network.classifier.weight.data *= 1e5
    return bench


def scored(scores: np.ndarray, order: np.ndarray | slice = slice(None)) -> Candidates:
    """A pool where units of equal scores are equal in all that a pass keeps of them, too."""
    scores = scores.astype(np.float64)
    ids = Ids([f"unit-{i}" for i in range(len(scores))])
    known = Ids([f"known-{i}" for i in range(4)])
    kept = {name: rows[order] for name, rows in signals_of(scores).items()}
    return Candidates(
        ids[order],
        scores[order],
        kept=kept,
        labeled_ids=known,
        labeled=signals_of(np.arange(4) / 7),
    )


def signals_of(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Some value of every signal that is stored, decided by the score."""
    features = np.stack([scores, scores**2, np.sin(5 * scores), np.cos(7 * scores)], axis=1)
    logits = features @ np.random.default_rng(4).normal(size=(4, CLASSES))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    kept = {"features": features, "logits": logits, "probs": probs, "log_probs": np.log(probs)}
    return {name: rows.astype(np.float16) for name, rows in kept.items()}


def chosen(strategy: Strategy, pool: Candidates, budget: float, seed: int = 0) -> list[str]:
    return list(strategy.select(pool, budget, np.random.default_rng(seed)))


def test_declares_what_exists(strategy):
    """A misspelt signal or task would be found only on a worker, after a training."""
    assert strategy.needs <= SIGNAL_NAMES and strategy.keeps <= SIGNAL_NAMES
    assert strategy.tasks <= {"classification", "segmentation"} and strategy.tasks


def test_is_its_configuration(strategy):
    """A resumed run would select with other hyperparameters than it started with."""
    assert build("strategies", strategy.model_dump(mode="json")) == strategy


def test_documents_itself(strategy):
    """A reader would not know formula and direction of a score, nor where a method comes from."""
    kind = find("strategies", strategy.part_name())
    assert kind.__doc__ and len(kind.__doc__.splitlines()[0]) > 20
    assert all(field.description for field in kind.model_fields.values())


@pytest.mark.parametrize("cycle", [0, 1])
def test_scores_are_finite_one_per_unit(strategy, bench, cycle):
    """One score that is not a number would stop every run that uses the strategy."""
    scores = bench.score(strategy, cycle=cycle)

    assert scores is None or scores.shape == (UNITS,)
    assert scores is None or torch.isfinite(scores).all()


@pytest.mark.parametrize("cycle", [0, 1])
def test_a_certain_model_has_finite_scores(strategy, certain, cycle):
    """A probability that underflows to 0 would stop the run of a model that is sure (G04)."""
    signals = certain.signals(range(UNITS), cycle=cycle)
    scores = certain.score(strategy, cycle=cycle)

    assert signals.probs.amin(dim=1).max() == 0
    assert scores is None or torch.isfinite(scores).all()


@pytest.mark.parametrize("cycle", [0, 1])
def test_does_not_depend_on_the_batch(strategy, bench, cycle):
    """Another batch size or shard would select other units."""
    together = bench.score(strategy, cycle=cycle)
    if together is None:
        pytest.skip("selects without scores")
    alone = torch.cat([bench.score(strategy, [row], cycle=cycle) for row in range(UNITS)])
    backwards = bench.score(strategy, range(UNITS)[::-1], cycle=cycle).flip(0)

    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(backwards, together, atol=1e-5, rtol=1e-4)


def test_leaves_the_models_alone(strategy, bench):
    """Scoring would change what the next cycle trains, or what another strategy sees."""
    before = [copy.deepcopy(network.state_dict()) for network in bench.networks]
    bench.score(strategy)

    for network, state in zip(bench.networks, before, strict=True):
        assert not network.training
        assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


def test_selects_exactly_the_budget(strategy):
    """Labels would be bought twice, or money left on the table."""
    pool = scored(np.random.default_rng(1).random(50))
    ids = chosen(strategy, pool, 7)

    assert len(set(ids)) == len(ids) == 7


def test_takes_all_of_a_small_pool(strategy):
    """The last cycle of a run that exhausts its pool would crash."""
    pool = scored(np.random.default_rng(1).random(5))

    assert sorted(chosen(strategy, pool, 7)) == sorted(pool.ids)


@pytest.mark.parametrize("units", [1, 2, 9])
def test_features_that_say_nothing(strategy, units):
    """A dead layer, a pool of one or of copies would end in a division by zero (G08)."""
    pool = scored(np.zeros(units))
    for rows in (*pool.kept.values(), *pool.labeled.values()):
        rows[:] = 0

    assert sorted(chosen(strategy, pool, units)) == sorted(pool.ids)


def test_selects_nothing_from_an_empty_pool(strategy):
    """A pool whose last images are all undecodable would crash."""
    assert chosen(strategy, scored(np.empty(0)), 7) == []


def test_selection_does_not_depend_on_the_order_of_the_pool(strategy):
    """Another number of shards would select other units."""
    pool = scored(np.random.default_rng(2).integers(0, 5, 60))  # many ties
    order = np.random.default_rng(3).permutation(60)
    shuffled = scored(pool.scores, order)

    assert chosen(strategy, pool, 20) == chosen(strategy, shuffled, 20)


def test_breaks_ties_by_the_seed(strategy):
    """Equal scores would always favour the same images: a bias that no seed averages out."""
    pool = scored(np.zeros(200))
    choices = [frozenset(chosen(strategy, pool, 20, seed)) for seed in (0, 0, 1, 2)]

    assert choices[0] == choices[1]
    assert len(set(choices)) == 3
