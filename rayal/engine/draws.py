"""The arms of a sweep, those that are drawn by Ray Tune's functions among them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from rayal.experiment.sweep.settings import Sweep
from rayal.experiment.sweep.space import KeyPath, arms
from rayal.randomness import derive
from rayal.storage.folder import Json


def all_arms(sweep: Sweep) -> list[Json]:
    """Every arm of a sweep that is not searched."""
    return arms(sweep.space, sweep.samples, partial(_draw, sweep.seed))


def _draw(seed: int, number: int, name: str, arguments: Sequence[Any], place: KeyPath) -> Any:
    """A value of Ray Tune's function of this name, from a generator of its own."""
    from ray import tune  # takes seconds, and a grid draws nothing

    rng = np.random.RandomState(derive(seed, "sweep", *place, number) % 2**32)
    drawn = getattr(tune, name)(*arguments).sample(random_state=rng)
    return drawn.item() if isinstance(drawn, np.generic) else drawn
