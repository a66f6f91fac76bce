"""Real runs that go on from a state of another run with another strategy: what a replay has to
equal."""

import shutil
from pathlib import Path

from rayal.experiment.experiment import Experiment
from rayal.runs.results import Chosen
from tests.support.whole_runs import result, stopped_at

AFTER = ("fit", "score", "select", "label", "label-asked")
"""Stages of a cycle that a choice needs, or follow from it."""


def branched(run: Path, cycle: int, x: Experiment, out: Path) -> tuple[str, ...]:
    """What a real run of `x` chooses in a cycle that goes on from a copy of another one, of which
    nothing is left that came after the training of that cycle."""
    shutil.copytree(run, out)
    (out / "identity.json").unlink()  # that is of the other strategy
    last = max(int(folder.name[-3:]) for folder in out.glob("cycle-*"))
    for stage in AFTER:
        shutil.rmtree(out / f"cycle-{cycle:03d}" / stage, ignore_errors=True)
    for later in range(cycle + 1, last + 1):
        shutil.rmtree(out / f"cycle-{later:03d}")
    stopped_at(x, out, cycle, "label")
    chosen = result(out, cycle, Chosen)
    assert chosen is not None
    return chosen.ids
