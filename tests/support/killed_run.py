"""Runs that are killed, each in a process of its own; see forks.py.

POINT is a pattern of a file in the run folder, after whose writing, or with `removed ` before it
whose removal, the process sends itself SIGKILL; `none` lets it run to the end.

`python killed_run.py OUT EXPERIMENT POINT` is one such run, in this very process.
"""

import atexit
import fnmatch
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rayal.experiment.experiment import Experiment
from rayal.plugins import Plugins
from rayal.report import views
from rayal.storage.folder import Folder
from rayal.workflows.run import start_engine, start_run

PLUGINS = Path(__file__).parent / "plugins"
REMOVED = "removed "


class Ended(NamedTuple):
    """How a process ended."""

    returncode: int
    stderr: str


class Runs:
    """Runs experiments in processes of their own, one after another."""

    def __init__(self, log: Path, work: Callable[[str, str, str], None] | None = None) -> None:
        """`work`: `main`, or another that takes a folder, fields as JSON and a POINT."""
        self.log, self.work = log, main if work is None else work

    def __call__(self, x: Any, out: Path | str, point: str = "none") -> Ended:
        from tests.support.forks import started  # which `python killed_run.py` does not find

        fields = json.dumps(x.model_dump(mode="json"))
        process = started(whole, self.work, str(self.log), str(out), fields, point)
        process.join()
        return Ended(process.exitcode, self.log.read_text())


def kill_after(point: str, root: str) -> None:
    method = "remove" if point.startswith(REMOVED) else "write"
    pattern, original = f"{root}/{point.removeprefix(REMOVED)}", getattr(Folder, method)

    def deadly(folder: Folder, name: str, *data: bytes):
        result = original(folder, name, *data)
        if fnmatch.fnmatch(f"{folder.url}/{name}", pattern):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Folder, method, deadly)


def draw_nothing() -> None:
    """No curve and no page from now on: drawing takes longer than a tiny training, and importing
    what draws as long as all of a tiny run."""
    views.draw_run = lambda record: b"no picture in tests"
    views.page_of = lambda *runs: b"no page in tests"
    views._import = lambda modules: None


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, out)
    draw_nothing()
    x = Experiment.model_validate(json.loads(fields), context=Plugins(["faulty"]))
    with start_run(x, out) as opened:
        opened.run(lambda: start_engine(x.compute))


def whole(work: Callable[..., None], log: str, *run: str) -> NoReturn:
    """The process; ends as one ends, without the second that Python takes to free all objects."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.path.insert(0, str(PLUGINS))
    paths = [str(PLUGINS), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    code = 1
    try:
        work(*run)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
