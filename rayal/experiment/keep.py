"""What of a run's large files stays on the disk."""

from typing import Any, Literal, TypeAlias

from pydantic import model_validator

from rayal.settings import Settings

Kept: TypeAlias = Literal["all", "last", "none"]
"""`last`: the newest ones, and whatever a run still reads, so that every run can go on."""


class Keep(Settings):
    """Which files of past cycles stay. Nothing that is chosen depends on it, and it may change at
    any time; what was removed comes back only by running the experiment again."""

    weights: Kept = "all"
    """Weights of trained models, and companions beside them. `last`: those of the newest cycle, and
    what the run needs to go on, also with a larger `budget.total`, and the network of `fine_tune`;
    `none`: none of a complete run."""
    shards: Kept = "all"
    """Scores of finished passes. `last`: those of the newest pass, and what the run needs to go on;
    `none`: none once the units are chosen and nothing in the run reads them any more."""


class KeepInSweep(Keep):
    """As of a single run, with defaults for many runs at once."""

    weights: Kept = "last"
    """Weights of trained models, and companions beside them; see `keep.weights` of a run."""
    shards: Kept = "last"
    """Scores of finished passes; see `keep.shards` of a run."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_run(cls, given: Any) -> Any:
        """Of a run's own only what was said: the rest is as sweeps have it."""
        return given.model_dump(exclude_unset=True) if isinstance(given, Keep) else given
