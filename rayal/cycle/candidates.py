"""Which images a cycle looks at: decided by the seed and what was bought, wherever it is asked."""

from collections.abc import Collection

from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.randomness import shuffled
from rayal.runs.ledger import PoolState


def known_images(pool: PoolState) -> frozenset[str]:
    """The ids that are no candidates: what was bought, and what the oracle could not label."""
    return frozenset({*pool.labels, *pool.refused})


def candidates(x: Experiment, store: Store, known: Collection[str], cycle: int) -> list[str]:
    """The unlabeled images that this cycle scores: all, or a random subset of the seed and cycle.

    An image is one of them as long as only regions of it are `known`, and unless it is known that
    it cannot be decoded.
    """
    bad = store.card.bad
    ids = [unit for unit in store.pool.ids() if unit not in known and unit not in bad]
    if x.candidates is None:
        return ids
    return shuffled(ids, x.seed, cycle, "candidates")[: x.candidates]
