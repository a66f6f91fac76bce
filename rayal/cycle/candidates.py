"""Which images a cycle looks at: decided by the seed and what was bought, wherever it is asked."""

from collections.abc import Collection

import numpy as np

from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.randomness import unit_keys
from rayal.runs.ledger import PoolState


def known_images(pool: PoolState) -> frozenset[str]:
    """The ids that are no candidates: what was bought, and what the oracle could not label."""
    return frozenset({*pool.labels, *pool.refused})


def candidates(x: Experiment, store: Store, known: Collection[str], cycle: int) -> list[str]:
    """The unlabeled images that this cycle scores: all, or a random subset of the seed and cycle.

    An image is one of them as long as only regions of it are `known`.
    """
    ids = [unit for unit in store.pool.ids() if unit not in known]
    if x.candidates is None:
        return ids
    return random_order(ids, x.seed, cycle, "candidates")[: x.candidates]


def random_order(ids: list[str], *key: int | str) -> list[str]:
    """The ids by a number that each draws from the key and itself alone."""
    return [ids[i] for i in np.argsort(unit_keys(ids, *key), kind="stable")]
