"""Processes of their own that begin as copies of one that has imported what takes seconds.

That one begins with the first test that wants a copy, and ends with the process of the tests.
"""

import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PRELOADED = (
    *("pytest", "sklearn.datasets", "sklearn.model_selection", "torch._dynamo", "mlflow.tracking"),
    "mlflow.store.tracking.sqlalchemy_store",
    *("rayal.engine.local", "rayal.workflows.run", "rayal.workflows.score", "rayal.training.feed"),
)
"""What most copies want; none of it starts a thread."""
SECONDS = 250
"""No copy works longer."""

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload([*PRELOADED])


def started(work: Callable[..., None], *arguments: Any) -> Any:
    """A process that does `work(*arguments)`, a function of a module, with the variables that this
    process has now."""
    process = FORKS.Process(target=_work, args=(dict(os.environ), work, arguments))
    process.start()
    return process


def as_two(work: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """`work(rank, folder, *arguments)` in two processes, each a `member`."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = [started(_member, rank, work, folder, arguments) for rank in range(2)]
    for process in pair:
        process.join(SECONDS)
    codes = [process.exitcode for process in pair]
    for process in pair:
        process.kill()
    (folder / "meeting").unlink(missing_ok=True)
    assert [0, 0] == codes, "".join(said.read_text() for said in folder.glob("failed-*"))


@contextmanager
def member(rank: int, meeting: Path) -> Iterator[None]:
    """This process is a worker of two, who meet in a file that must be new; a warning fails."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    warnings.simplefilter("error")
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    yield
    distributed.destroy_process_group()


def _work(environment: dict[str, str], work: Callable[..., None], arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    work(*arguments)


def _member(rank: int, work: Callable[..., None], folder: Path, arguments: Any) -> None:
    try:
        with member(rank, folder / "meeting"):
            work(rank, folder, *arguments)
    except BaseException:
        (folder / f"failed-{rank}").write_text(traceback.format_exc())
        raise
