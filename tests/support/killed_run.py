"""Runs that are killed, each in a process of its own: forks of one that has imported all it needs.

`python killed_run.py` reads a line of JSON per run from its input, [OUT, EXPERIMENT, POINT, LOG],
runs it in a fork whose standard error goes to the file LOG, and prints the fork's exit code.
POINT is a pattern of a file in the run folder, after whose writing, or with `removed ` before it
whose removal, the process sends itself SIGKILL; `none` lets it run to the end.

`python killed_run.py OUT EXPERIMENT POINT` is one such run, in this very process.
"""

import atexit
import fnmatch
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rayal.engine import local  # noqa: F401
from rayal.experiment.experiment import Experiment
from rayal.plugins import Plugins
from rayal.report import views
from rayal.storage.folder import Folder
from rayal.workflows.run import start_engine, start_run

ROOT = Path(__file__).parents[2]
"""Where rayal and the tests are imported from."""
PLUGINS = ROOT / "tests" / "support" / "plugins"
REMOVED = "removed "


class Ended(NamedTuple):
    """How a process ended."""

    returncode: int
    stderr: str


class Runs:
    """Runs experiments in processes of their own, one after another, until it is closed."""

    def __init__(self, log: Path, program: str = __file__) -> None:
        """`program`: this one, or another that serves as it does."""
        self.log = log
        pipe, paths = subprocess.PIPE, [str(ROOT), str(PLUGINS), os.environ.get("PYTHONPATH", "")]
        self.server = subprocess.Popen(
            [sys.executable, program],
            stdin=pipe,
            stdout=pipe,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )

    def __call__(self, x: Any, out: Path, point: str = "none") -> Ended:
        asks, answers = self.server.stdin, self.server.stdout
        assert asks is not None and answers is not None
        fields = json.dumps(x.model_dump(mode="json"))
        asks.write(json.dumps([str(out), fields, point, str(self.log)]) + "\n")
        return Ended(int(answers.readline()), self.log.read_text())

    def close(self) -> None:
        """Ends the process that forks; it does nothing now, and would take a second to end."""
        with self.server:
            self.server.kill()


def kill_after(point: str, root: str) -> None:
    method = "remove" if point.startswith(REMOVED) else "write"
    pattern, original = f"{root}/{point.removeprefix(REMOVED)}", getattr(Folder, method)

    def deadly(folder: Folder, name: str, *data: bytes):
        result = original(folder, name, *data)
        if fnmatch.fnmatch(f"{folder.url}/{name}", pattern):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Folder, method, deadly)


def main(out: str, fields: str, point: str) -> None:
    kill_after(point, out)
    views.draw_run = lambda record: b"no picture in tests"
    x = Experiment.model_validate(json.loads(fields), context=Plugins(["faulty"]))
    with start_run(x, out) as opened:
        opened.run(lambda: start_engine(x.compute))


def serve(main: Callable[..., None] = main, also: Sequence[str] = ()) -> None:
    slow = ("sklearn.datasets", "sklearn.model_selection", "torch._dynamo", *also)
    for slow_to_import in slow:
        importlib.import_module(slow_to_import)
    while line := sys.stdin.readline():
        *run, log = json.loads(line)
        child = os.fork()
        if child == 0:
            fork(main, log, *run)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def fork(main: Callable[..., None], log: str, *run: str) -> NoReturn:
    """The run; ends as a process ends, without the second that Python takes to free all objects."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 1
    try:
        main(*run)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1:] else serve()
