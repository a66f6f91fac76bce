"""The arms that a search algorithm proposes, each once and with every seed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from ray.tune.search import Searcher

from rayal.experiment.sweep.trials import Assignment
from rayal.storage.folder import Json

OBJECTIVE = "objective"
TRIAL = "trial"
"""Where a trial's configuration holds its assignment."""


@dataclass
class _Arm:
    """One that is at work."""

    proposals: list[str]
    """The draws that wait for its value; more than one where it was proposed again meanwhile."""
    trials: set[str] = field(default_factory=set)
    values: list[float] = field(default_factory=list)
    seeds: int = 0
    """Those that have not ended."""


class Proposals(Searcher):
    """Asks an algorithm for arms, and Tune for a trial of each seed. An arm that the algorithm
    proposes again is answered with what is known of it, or will be, and counts as a draw."""

    def __init__(
        self,
        searcher: Searcher,
        arm_of: Callable[[Json], Json],
        name_of: Callable[[Json], str],
        seeds: Sequence[int],
        draws: int,
        known: Mapping[str, float],
        repeated: Callable[[], None],
    ) -> None:
        """`arm_of` what was drawn; `name_of` an arm, the same for equal ones; `known`: values of
        arms by name; `repeated` is told of each draw of an arm that was drawn before."""
        super().__init__(metric=OBJECTIVE, mode="max")
        self.searcher, self.arm_of, self.name_of = searcher, arm_of, name_of
        self.seeds, self.draws, self.known, self.repeated = seeds, draws, dict(known), repeated
        self.open: dict[str, _Arm] = {}
        self.waiting: list[tuple[str, Assignment]] = []

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None while the algorithm wants to see more, FINISHED at the end."""
        while not self.waiting:
            if not self.draws:
                return Searcher.FINISHED
            proposal = f"draw-{self.draws}"
            drawn = self.searcher.suggest(proposal)
            if not isinstance(drawn, dict):
                return drawn
            self.draws -= 1
            self._propose(proposal, self.arm_of(drawn))
        name, assignment = self.waiting.pop(0)
        self.open[name].trials.add(trial_id)
        return {TRIAL: assignment._asdict()}

    def _propose(self, proposal: str, arm: Json) -> None:
        name = self.name_of(arm)
        if name in self.known:
            self._answer(proposal, self.known[name])
            self.repeated()
        elif name in self.open:
            self.open[name].proposals.append(proposal)
            self.repeated()
        else:
            self.open[name] = _Arm([proposal], seeds=len(self.seeds))
            self.waiting = [(name, Assignment(arm, seed)) for seed in self.seeds]

    def on_trial_complete(
        self, trial_id: str, result: Json | None = None, error: bool = False
    ) -> None:
        """Answers the algorithm when all seeds of an arm have ended: with their mean, or that it
        has none."""
        name = next(name for name, arm in self.open.items() if trial_id in arm.trials)
        arm = self.open[name]
        arm.seeds -= 1
        arm.values.append(math.nan if error else (result or {}).get(OBJECTIVE, math.nan))
        if arm.seeds:
            return
        del self.open[name]
        if math.isfinite(value := mean(arm.values)):
            self.known[name] = value
        for proposal in arm.proposals:
            self._answer(proposal, value)

    def _answer(self, proposal: str, value: float) -> None:
        if math.isfinite(value):
            self.searcher.on_trial_complete(proposal, {OBJECTIVE: value})
        else:
            self.searcher.on_trial_complete(proposal, error=True)

    def get_state(self) -> Json:
        """Nothing: Tune would write it down, and nobody reads it."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """See `get_state`."""

    def restore(self, checkpoint_path: str) -> None:
        """See `get_state`."""
