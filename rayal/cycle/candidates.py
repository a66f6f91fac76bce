"""Which images a cycle looks at: decided by the seed and what was bought, wherever it is asked."""

from collections.abc import Collection

from rayal.data.card import prepared_anew
from rayal.data.copies import Copies
from rayal.data.store import Store
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.randomness import shuffled
from rayal.runs.ledger import PoolState


def known_images(pool: PoolState) -> frozenset[str]:
    """The ids that are no candidates: what was bought, and what the oracle could not label."""
    return frozenset({*pool.labels, *pool.refused})


def candidates(x: Experiment, store: Store, known: Collection[str], cycle: int) -> list[str]:
    """The unlabeled images that this cycle scores: all, or a random subset of the seed and cycle.

    An image is one of them as long as only regions of it are `known`, and unless it is `left_out`.
    """
    out = left_out(x, store, known)
    ids = [unit for unit in store.pool.ids() if unit not in known and unit not in out]
    if x.candidates is None:
        return ids
    return shuffled(ids, x.seed, cycle, "candidates")[: x.candidates]


def left_out(x: Experiment, store: Store, known: Collection[str] = ()) -> frozenset[str]:
    """Images that are never bought: those known to be undecodable, and what guards leave out.

    Of images with the same content the first one is bought, or none where one is `known` already.
    """
    out = {*store.card.bad, *of_test(x, store)}
    if x.guards.same_images == "leave_out":
        for group in copies(store).groups:
            bought = [unit for unit in group if unit in known]
            out |= {*group} - {*(bought or group[:1])}
    return frozenset(out)


def of_test(x: Experiment, store: Store) -> frozenset[str]:
    """Images of the pool that guards leave out since they are test images too."""
    return copies(store).in_test if x.guards.test_images == "leave_out" else frozenset()


def copies(store: Store) -> Copies:
    """Raises UsageError where nobody knows which images have the same content."""
    if store.copies is not None:
        return store.copies
    if store.card.sizes:
        why = f"an older rayal prepared {store.url}; {prepared_anew(store.url)}"
    elif not store.card.image.sides:
        why = "nobody had compared the images behind these features; set guards to keep"
    else:
        why = "no image was looked at; set dataset.verify: true, or guards to keep"
    raise UsageError(f"guards: which images have the same content is not known: {why}")
