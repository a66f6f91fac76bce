"""Entropy, but predicted classes take turns: the most uncertain of each class first."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from rayal import Candidates, Signals, Strategy
from rayal.selection.candidates import ranking, spend
from rayal.signals.batch import entropy


class ClassTurns(Strategy):
    """Entropy in nats, 0 to ln C; of units in one round the higher goes first."""

    needs = frozenset({"log_probs"})
    keeps = frozenset({"probs"})

    def score(self, s: Signals) -> Tensor:
        return entropy(s.log_probs)

    def select(self, pool: Candidates, budget: float, rng: np.random.Generator) -> Sequence[str]:
        assert pool.scores is not None  # `score` returns some
        order = ranking(pool.ids, pool.scores, rng)  # best first, ties by a seeded key
        predicted = pool.kept["probs"].argmax(axis=1)  # M C -> M
        seen = Counter[int]()
        rounds = np.empty(len(order), np.intp)
        for rank, place in enumerate(order):
            rounds[rank] = seen[predicted[place]]
            seen[predicted[place]] += 1
        in_turns = order[np.argsort(rounds, kind="stable")]
        return pool.ids[spend(pool, in_turns, budget)]
