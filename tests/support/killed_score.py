"""A pool scoring that is killed, as in killed_run.py; POINT may be a number of images, too, after
which the process sends itself SIGKILL."""

import json
import os
import signal

from rayal.runs.events import Event
from rayal.workflows import run, score
from rayal.workflows.score.settings import PoolScoring
from tests.support.killed_run import kill_after


class Watch:
    """Kills this process once so many images are scored."""

    def __init__(self, point: str) -> None:
        self.last = int(point) if point.isdigit() else None

    def on(self, event: Event) -> None:
        if self.last is not None and (event.done or 0) >= self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, out)
    settings = PoolScoring.model_validate(json.loads(fields))
    with score.start_scoring(settings, out) as opened:
        opened.run(lambda: run.start_engine(settings.compute.for_engine()), Watch(point))
