"""A run that is killed: `python killed_run.py OUT EXPERIMENT_JSON POINT`, for test_session.py.

POINT is a pattern of a file in the run folder, after whose writing the process sends itself
SIGKILL; `none` lets it run to the end.
"""

import fnmatch
import json
import os
import signal
import sys

from rayal import session
from rayal.experiment import Experiment
from rayal.storage import Folder


def kill_after(point: str, root: str) -> None:
    write = Folder.write

    def deadly(folder: Folder, name: str, data: bytes):
        record = write(folder, name, data)
        if fnmatch.fnmatch(f"{folder.url}/{name}", f"{root}/{point}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    Folder.write = deadly


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, out)
    x = Experiment.model_validate(json.loads(fields))
    with session.opened(x, out) as opened:
        opened.run(lambda: session.engine(x.compute))


if __name__ == "__main__":
    main(*sys.argv[1:])
