"""The runs behind a paper's table: comparisons of methods, as sweeps of this project's configs.

Methods whose training is the same are one sweep, so that they share their first cycle.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from further import Further
from published import Numbers

from rayal.errors import UsageError, counted
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep import trials
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.report import runs
from rayal.runs.record import Record
from rayal.storage.folder import Folder, Json
from rayal.workflows.sweep.folder import TRIALS

CONFIGS = Path(__file__).parents[2] / "configs"
OURS = ("strategy", "seed", "sweep.seeds", "sweep.space")
"""Keys that this program sets itself."""


class Method(NamedTuple):
    """How a method of a paper is run."""

    config: str
    """A file in configs/; its strategy, if it is another one, is replaced."""
    strategy: str
    called: str
    """Its name in the paper."""
    overrides: tuple[str, ...] = ()
    """As `--set`. Methods with the same file and overrides are one sweep."""


class Comparison(NamedTuple):
    """Methods that a paper compares on one dataset."""

    methods: Mapping[str, Method]
    published: Numbers = {}
    note: str = ""
    """What the paper says in words, or how to read its numbers."""
    why: Mapping[str, str] = {}
    """By method, or by several with commas between: why ours cannot agree, or need not."""
    further: Sequence[Further] = ()
    """Tables besides, that are no curves."""


class Planned(NamedTuple):
    """One sweep: methods that train alike."""

    comparison: str
    folder: str
    methods: Mapping[str, Method]
    x: SweptExperiment

    def arm(self, method: str) -> Json:
        """What the sweep varies."""
        return {"strategy": {"name": self.methods[method].strategy}}

    def experiment(self, method: str) -> Experiment:
        """What a trial of this method is, by its first seed."""
        fields = trials.base(self.x)
        return trials.of_arm(fields, self.arm(method), self.x.sweep.seeds[0]).experiment

    def records(self, out: Folder) -> Iterator[tuple[str, Record]]:
        """The trials of its methods that have begun, of all seeds, each with its method."""
        names = {method.strategy: name for name, method in self.methods.items()}
        for record in Record.below(out / self.folder / TRIALS):
            strategy = record.experiment()["strategy"]["name"]
            if strategy in names:
                yield names[strategy], record


def planned(
    name: str, methods: Mapping[str, Method], seeds: Sequence[int], given: Sequence[str] = ()
) -> list[Planned]:
    """The sweeps of a comparison, or of some methods of it; `given` are the user's `--set`.

    Raises UsageError for a `--set` of something that the methods decide, and as `config.load`.
    """
    for assignment in given:
        key = assignment.partition("=")[0]
        if key in OURS or key.startswith("strategy."):
            raise UsageError(f"--set {assignment}: is set here; use --methods and --seeds")
    alike: dict[tuple[str, tuple[str, ...]], dict[str, Method]] = defaultdict(dict)
    for key, method in methods.items():
        alike[method.config, method.overrides][key] = method
    found = []
    for (file, overrides), members in alike.items():
        arms = [{"name": method.strategy} for method in members.values()]
        space = {"strategy": {"grid_search": arms}}
        ours = [f"sweep.seeds={list(seeds)}", f"sweep.space={json.dumps(space)}"]
        ours += ["sweep.control=null"]  # the methods name their own
        x = config.load_as(SweptExperiment, CONFIGS / file, [*overrides, *given, *ours])
        folder = config.load(CONFIGS / file, overrides).name
        found.append(Planned(name, folder, members, x))
    return found


def listed(sweeps: Sequence[Planned], out: Folder) -> str:
    """What will run: a line for each sweep, and how many trials are left of all."""
    lines, left = [], 0
    for each in sweeps:
        seeds = each.x.sweep.seeds
        complete = sum(
            record.complete and record.experiment()["seed"] in seeds
            for _, record in each.records(out)
        )
        asked = len(each.methods) * len(seeds)
        left += asked - complete
        lines.append(
            f"{each.comparison}  {each.folder}: {', '.join(each.methods)}; {asked} trials,"
            f" {complete} complete; each {_cost(each.x)}"
        )
    return "\n".join([*lines, f"{left} trials to run in {len(sweeps)} sweeps"])


def _cost(x: Experiment) -> str:
    """Of one trial: `7 cycles from 5,000 to 20,000 labels x 200 epochs, 17,500,000 images seen`; of
    epochs over what clicks buy nobody knows the images beforehand."""
    (initial, per_cycle, total), scheme, unit = x.budget.amounts, x.scheme, x.budget.unit
    spent = [*range(int(initial), int(total), int(per_cycle)), int(total)]
    what, seen = ("labels" if unit == "samples" else unit), None
    if scheme.steps is not None:
        length, seen = f"{scheme.steps:,} steps", scheme.steps * scheme.batch_size * len(spent)
    else:
        length = f"{scheme.epochs} epochs"
        if unit == "samples":
            seen = scheme.length * sum(spent)
    models = f" x {x.ensemble} models" if x.ensemble > 1 else ""
    reached = f" from {spent[0]:,} to" if len(spent) > 1 else " with"
    said = f"{counted(len(spent), 'cycle')}{reached} {spent[-1]:,} {what} x {length}{models}"
    return said if seen is None else f"{said}, {seen * x.ensemble:,} images seen"


def differences(recorded: Json, meant: Experiment) -> list[str]:
    """`scheme.epochs=1 instead of 200`, for all that changes what a run finds."""
    ours, theirs = (runs.settings(x) for x in (recorded, meant.model_dump(mode="json")))
    return [
        f"{key}={ours.get(key)} instead of {theirs.get(key)}"
        for key in {**theirs, **ours}
        if ours.get(key) != theirs.get(key)
    ]
