"""What a sweep has in common with what its folder holds: all but seeds, samples and space, which
may grow, its control, which is an arm, and where its trials run."""

from collections.abc import Iterable

from rayal.experiment.identity import ADDED, identifying
from rayal.experiment.sweep import space
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.experiment.sweep.trials import Trial, base, described
from rayal.storage.folder import Json
from rayal.storage.journal import differences

PLACES = {"cpus", "gpus", "concurrent", "max_failures", "share_first_cycle"}
"""Where trials run, and what they need not do twice."""
GROWS = ("seeds", "samples", "space", "control")


def asked(x: SweptExperiment, listed: Iterable[Trial]) -> Json:
    """What a sweep's folder remembers of what was asked; `listed` are its trials, unless an
    algorithm proposes them."""
    sweep = x.sweep.model_dump(mode="json", exclude=PLACES)
    searched = x.sweep.search == "optuna"
    if not searched and x.sweep.early_stopping is None:
        del sweep["objective"]  # only what is looked at: it decides nothing
    if searched or x.sweep.control is None:
        del sweep["control"]  # as of one that was begun before there was any
    kept = identifying(base(x)).items()
    fixed = {key: value for key, value in kept if key not in ("seed", ADDED)}  # each trial has it
    arms = {} if searched else {trial.name: described(trial.arm) for trial in listed}
    return {"experiment": fixed, "sweep": sweep, "arms": arms}


def as_begun(x: SweptExperiment, there: Json | None) -> SweptExperiment:
    """The sweep as its folder knows it, if it holds one: what was begun without a control has none
    later either, whatever the default is now."""
    if there is None or "control" in there["sweep"] or x.sweep.control is None:
        return x
    return x.model_copy(update={"sweep": x.sweep.model_copy(update={"control": None})})


def joined(there: Json, here: Json) -> Json:
    """What is asked here, and the arms and seeds that are there."""
    seeds = dict.fromkeys([*there["sweep"]["seeds"], *here["sweep"]["seeds"]])
    arms = {**there["arms"], **here["arms"]}
    return {**here, "sweep": {**here["sweep"], "seeds": list(seeds)}, "arms": arms}


def changes(there: Json, here: Json) -> list[str]:
    """What differs in more than growth: `scheme.epochs: 2 -> 3`."""
    fixed = differences(_fixed(there), _fixed(here))
    return [*fixed, *_shrunk(there, here, alike=not fixed)]


def _fixed(asked: Json) -> Json:
    rest = {key: value for key, value in asked["sweep"].items() if key not in GROWS}
    return {**asked["experiment"], "sweep": rest}


def _shrunk(there: Json, here: Json, alike: bool) -> Iterable[str]:
    """`alike`: that arms can be compared, as all that is not varied is the same."""
    old, new = there["sweep"], here["sweep"]
    if not {*old["seeds"]} <= {*new["seeds"]}:
        yield f"sweep.seeds: {old['seeds']} -> {new['seeds']}"
    if new["search"] == "optuna" == old["search"]:
        if new["samples"] < old["samples"]:
            yield f"sweep.samples: {old['samples']} -> {new['samples']}"
        yield from space.narrowed(old["space"], new["space"])
        return
    gone = [arm for name, arm in there["arms"].items() if name not in here["arms"]]
    if alike and gone:
        yield (
            f"sweep.space: without {len(gone)} of the {len(there['arms'])} arms that are there,"
            f" the first is {gone[0]}"
        )
