"""Early stopping: a share of the labeled set judges a training, and ends it.

A held-out unit is labeled as any other: it is paid for, and never selected again; it is only not
trained on. n labeled units.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from rayal.randomness import derive, numpy_generator, unit_keys
from rayal.settings import Settings

LEAST_HELD_OUT = 2
"""Units that judge a training at least: by fewer it is not stopped."""


class StoppingRule(Settings):
    """How many labels judge the training, and how long it may go on without getting better."""

    share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the labeled units that is held out of the training, from every purchase and class
    alike where these are large enough."""

    patience: PositiveInt = 20
    """Epochs without a better one, after which the training ends."""

    min_delta: NonNegativeFloat = 1e-3
    """How much lower than the lowest so far the mean loss of the held-out units has to be for an
    epoch to count as better (nats)."""

    def held_out(
        self,
        ids: Sequence[str],
        labels: Sequence[int],
        bought: Sequence[int],
        seed: int,
        least: int,
    ) -> frozenset[str]:
        """The units that judge, of n with these classes, bought in these cycles.

        Every 1/share-th unit where they are ordered by purchase, class and chance. So a unit that
        is held out in one cycle is in every later one, and none that was trained on before: a warm
        start has not seen them. (A label that changes may move a few of its purchase.) Empty where
        the share is less than `LEAST_HELD_OUT`, or where fewer than `least` would be left.
        """
        keys, classes = unit_keys(ids, seed, "held out"), [int(label) for label in labels]
        turn = {label: derive(seed, "held out", label) for label in set(classes)}
        turns = np.array([turn[label] for label in classes])
        order = np.lexsort((keys, turns, np.array(bought)))
        start = numpy_generator(seed, "held out").random()
        ends = np.floor(np.arange(len(ids) + 1) * self.share + start)
        held = frozenset(ids[place] for place in order[np.diff(ends) > 0])
        if len(ids) * self.share < LEAST_HELD_OUT or len(ids) - len(held) < least:
            return frozenset()
        return held
