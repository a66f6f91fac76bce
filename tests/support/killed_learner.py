"""Labeling loops that are killed, each in a process of its own: see killed_run.py.

`Runs(log, killed_learner.main)` runs them: `loop` with the labels of the dataset.
"""

import json
from typing import Any

import rayal
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder
from tests.support.killed_run import draw_nothing, kill_after


def loop(x: Experiment, out: str, labels: int, asked: int) -> dict[str, Any]:
    """Asks for `asked` units at a time, and tells their true labels in two halves."""
    truth = x.dataset.open().labels("pool")
    with rayal.ActiveLearner(x, out) as learner:
        while len(learner.labels) < labels:
            units = learner.ask(asked)
            for half in (units[: asked // 2], units[asked // 2 :]):
                learner.tell({unit: truth[unit] for unit in half})
        return learner.learn()


def main(out: str, fields: str, point: str) -> None:
    draw_nothing()
    x = Experiment.model_validate(json.loads(fields))
    kill_after(point, Folder(out).url)
    loop(x, out, 60, 20)
