"""`rayal labels add` that is killed, each in a process of its own: see killed_run.py.

`Runs(log, killed_labels.main)` runs them, each with a `Given` in place of an experiment.
"""

import json
from typing import Any, NamedTuple

import rayal
from rayal.storage.folder import Folder
from tests.support.killed_run import kill_after


class Given(NamedTuple):
    """What `labels add` is given."""

    file: str
    annotator: str = ""

    def model_dump(self, mode: str) -> dict[str, Any]:
        return self._asdict()


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, Folder(out).url)
    rayal.add_labels(out, **json.loads(fields))
