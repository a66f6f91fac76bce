"""How far annotators and a model are trusted, against loops that follow the formulas."""

import numpy as np
import pytest

from rayal.labeling.trust import Said, Trust, scaled, temperature
from rayal.labeling.votes import Vote


def said_of(table):
    """Votes of a table U J, -1 where an annotator said nothing."""
    units = [f"unit-{row}" for row in range(len(table))]
    votes = {
        unit: [Vote(unit, int(c), f"annotator-{j}") for j, c in enumerate(row) if c >= 0]
        for unit, row in zip(units, table, strict=True)
    }
    return Said.of(votes, units)


def estimated(table, probs, consensus):
    """Weights and posterior, one number after the other."""
    units, annotators, classes = len(table), len(table[0]), len(probs[0])
    votes = [[c for c in row if c >= 0] for row in table]
    several = [u for u in range(units) if len(votes[u]) > 1]
    likely = np.mean([votes[u].count(consensus[u]) / len(votes[u]) for u in several])
    named = [consensus[u] for u in several]
    frequent = max(range(classes), key=named.count)
    error = max(1e-6, np.mean([c != frequent for c in named]))
    agreed = []
    for j in range(annotators):
        pairs = [
            table[u][j] == table[u][other]
            for u in range(units)
            for other in range(annotators)
            if other != j and table[u][j] >= 0 and table[u][other] >= 0
        ]
        agreed.append(np.mean(pairs) if pairs else None)
    mean = np.mean([each for each in agreed if each is not None])
    weights = [max(1e-6, 1 - (1 - (mean if a is None else a)) / error) for a in agreed]
    wrong = np.mean([np.argmax(probs[u]) != consensus[u] for u in several])
    model = max(1e-6, 1 - wrong / error) * np.sqrt(np.mean([len(v) for v in votes]))
    posterior = np.zeros((units, classes))
    for u in range(units):
        for k in range(classes):
            parts = [(model, probs[u][k])]
            for j in range(annotators):
                if table[u][j] >= 0:
                    other = (1 - likely) / (classes - 1)
                    parts.append((weights[j], likely if table[u][j] == k else other))
            posterior[u, k] = np.average([v for _, v in parts], weights=[w for w, _ in parts])
    return weights, model, posterior


def majority(table, probs):
    """Ties by the model."""
    chosen = []
    for row, p in zip(table, probs, strict=True):
        votes = [c for c in row if c >= 0]
        chosen.append(max({*votes}, key=lambda c, v=votes, p=p: (v.count(c), p[c])))
    return chosen


def world(seed, units=40, annotators=5, classes=4):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, units)
    logits = rng.normal(size=(units, classes))
    logits[np.arange(units), truth] += 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = np.full((units, annotators), -1)
    for row in range(units):
        for j in rng.choice(annotators, rng.integers(1, 4), replace=False):
            table[row, j] = truth[row] if rng.random() < 0.7 else rng.integers(0, classes)
    return table.tolist(), probs


def test_by_hand():
    """Two who always agree and one who never does would count alike."""
    table = [[0, 0, 1], [1, 1, 0], [0, 0, -1], [1, 1, -1]]
    probs = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.55, 0.45]])
    trust = Trust.of(said_of(table), probs)

    # e = 1/2; pairs of the first: 4 of 6 alike, so 1 - (1/3) / (1/2); the third has 0 of 4
    np.testing.assert_allclose([1 / 3, 1 / 3, 1e-6], trust.annotators)
    # the model is wrong on 1 of 4, against 1 of 2 by chance; 10 votes of 4 units
    assert trust.model == pytest.approx(0.5 * np.sqrt(2.5))
    assert [0, 1, 0, 1] == trust.consensus.tolist()
    # P = (2/3 + 2/3 + 1 + 1) / 4 = 5/6
    expected = (trust.model * 0.6 + 2 / 3 * 5 / 6) / (trust.model + 2 / 3)
    assert trust.quality[2] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_loop(seed):
    """Sums over arrays would mix up units, annotators and classes."""
    table, probs = world(seed)
    first = majority(table, probs)
    _, _, posterior = estimated(table, probs, first)
    consensus = posterior.argmax(axis=1).tolist()
    weights, model, posterior = estimated(table, probs, consensus)
    trust = Trust.of(said_of(table), probs)
    names = list(dict.fromkeys(j for row in table for j, c in enumerate(row) if c >= 0))

    np.testing.assert_allclose([weights[j] for j in names], trust.annotators)
    assert trust.model == pytest.approx(model) and consensus == trust.consensus.tolist()
    np.testing.assert_allclose(posterior[np.arange(len(table)), consensus], trust.quality)


def test_an_annotator_who_shares_no_unit_has_the_mean_of_the_others():
    """A division of nothing by nothing would stop the run."""
    table, probs = world(0)
    alone = [[*row, -1] for row in table] + [[-1] * 5 + [2]]
    trust = Trust.of(said_of(alone), np.concatenate([probs, probs[:1]]))

    assert np.isfinite([*trust.annotators, trust.model, *trust.quality]).all()


def test_the_temperature_is_the_best_one():
    """A model that is too sure would be believed, one that is not sure enough would not."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 3)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    votes = (probs.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1).clip(max=2)
    counts = np.eye(3)[votes]

    assert temperature(counts, probs) == pytest.approx(1, abs=0.25)
    assert temperature(counts, scaled(probs, 1 / 3)) == pytest.approx(3, abs=0.5)
    assert temperature(counts, scaled(probs, 2)) == pytest.approx(0.5, abs=0.1)
