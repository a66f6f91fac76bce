"""A sweep as the command runs it, from a file: the processes of its trials begin to import before
this one has read the file with all its parts, which takes as long."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rayal.engine.forks import Forks
from rayal.engine.processes import importing
from rayal.errors import RayalError
from rayal.experiment import config
from rayal.plugins import NO_PLUGINS, Plugins

if TYPE_CHECKING:
    from rayal.api.swept import Sweep


def sweep_file(
    path: str | Path,
    set: Iterable[str] = (),
    *,
    address: str | None = None,
    plugins: Iterable[str] = NO_PLUGINS,
    **options: Any,
) -> "Sweep":
    """As `rayal.sweep(rayal.load_sweep(path, set))`, with the same `options`, and sooner."""
    with _importing(path, set, address) as begun:
        from rayal.api.experiments import load_sweep
        from rayal.api.sweep import run_swept

        x, named = load_sweep(path, set, plugins=plugins), Plugins(plugins)
        return run_swept(x, begun=begun, address=address, plugins=named, **options)


def _importing(
    path: str | Path, set: Iterable[str], address: str | None
) -> AbstractContextManager[Forks | None]:
    """By what the file says, right or wrong: that costs no more than a process."""
    try:
        said = config.written(path, set)
        block = {"search": "random", "early_stopping": None, "gpus": 0, "cpus": 1, **said["sweep"]}
        block["cpus"] = float(block["cpus"])
        compute = SimpleNamespace(engine=said["compute"]["engine"])
    except (RayalError, LookupError, TypeError, ValueError):  # Ray, or what is told next
        return nullcontext()
    return importing(SimpleNamespace(**block), compute, address)  # type: ignore[arg-type]
