"""What every attempt at a run was made with: libraries, device, threads, sources of plugins.

`history.json` in the run folder has one entry for each process that worked on the run, the last one
last; who finds the run complete adds none. The experiment says what was asked for, this what was
used.
"""

import importlib.metadata
import logging
import os
import platform
from collections.abc import Iterator
from functools import cache

import rayal
from rayal.cycle.engine import Engine
from rayal.errors import OUT, LockedError
from rayal.experiment.experiment import Experiment
from rayal.experiment.sources import plugin_sources
from rayal.plugins import Plugins
from rayal.runs.ledger import FIRST, Ledger
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder, Json
from rayal.storage.lock import utc_now

HISTORY = "history.json"
RECORDED = ("ray", "torch", "torchvision", "mlflow", "pyarrow", "numpy", "scikit-learn")

logger = logging.getLogger(__name__)


def attempts(folder: Folder) -> list[Json]:
    """The entries so far; of a run that rayal 0.4 began, what that left of its last attempt."""
    with suggesting("delete it, which loses no more than the record of earlier attempts"):
        history = folder.read_sealed(HISTORY, default=None)
    if history is not None:
        return list(history["attempts"])
    before = folder.read_json("environment.json", default=None)
    return [] if before is None else [before]


def begin(
    x: Experiment, ledger: Ledger, engine: Engine, plugins: Plugins, *, chooses: bool = True
) -> None:
    """Adds this attempt to the history, and says how it differs from the last one. `chooses`:
    whether units are still to be chosen.

    Raises LockedError where it would compute what is chosen with other last bits: on another
    device, or, on a CPU, with other threads.
    """
    folder = ledger.folder
    before, now = attempts(folder), _made_with(x, ledger, engine, plugins)
    if before:
        _compare(ledger, before[-1], now, chooses and _asks_a_model(x, ledger))
    ledger.keep_identity()
    folder.write_sealed(HISTORY, {"attempts": [*before, now]})


def tell_changes(x: Experiment, folder: Folder, plugins: Plugins) -> None:
    """Warns where a complete run was made with other sources than those that are here."""
    made = attempts(folder)
    before = made[-1].get("plugins", {}) if made else {}
    if changes := _changes("the source of ", before, plugin_sources(x, plugins), digits=12):
        logger.warning(
            "%s is complete, and was made with something else than what is here (there -> here):"
            " %s; its results stay as they are: give another folder as out to run it anew",
            *(folder.url, ", ".join(changes)),
        )


def tell_elsewhere(folder: Folder, engine: Engine) -> None:
    """Warns where models of a run are asked on another device than it was computed on, or by
    another torch: what is chosen may hang on last bits."""
    made = attempts(folder)
    if not made:
        return
    last = made[-1]
    there = {"device": last.get("device"), "torch": last.get("versions", {}).get("torch")}
    there = {key: value for key, value in there.items() if value is not None}
    if changes := _changes("", there, {"device": engine.device, "torch": _version("torch")}):
        logger.warning(
            "%s was computed with something else than what is here (there -> here): %s; scores may"
            " differ in their last bits, and so may what is chosen",
            *(folder.url, ", ".join(changes)),
        )


def _made_with(x: Experiment, ledger: Ledger, engine: Engine, plugins: Plugins) -> Json:
    return {
        "attempt": ledger.attempt,
        "started": utc_now(),
        "engine": x.compute.engine,
        "device": engine.device,
        "threads": engine.threads,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "versions": {"rayal": rayal.__version__, **{name: _version(name) for name in RECORDED}},
        "plugins": plugin_sources(x, plugins),
        "total": x.budget.total,
    }


def _compare(ledger: Ledger, before: Json, now: Json, bits_decide: bool) -> None:
    url, place = ledger.folder.url, list(_place(before, now))
    if place and bits_decide and _has_computed(ledger):
        raise LockedError(
            f"{url} was computed so far with {_shown(before)}, and would go on with {_shown(now)}:"
            f" the last bits differ, and with them what is chosen; {_way_out(before, now)}, or use"
            f" another {OUT}"
        )
    changes = [f"{_shown(before)} -> {_shown(now)}"] if place else []
    changes += _changes("", before["versions"], now["versions"])
    changes += _changes("the source of ", before.get("plugins", {}), now["plugins"], digits=12)
    if changes:
        logger.warning(
            "%s goes on with something else than it was made with so far (there -> here): %s; what"
            " comes now may not compare with what is there",
            *(url, ", ".join(changes)),
        )


def _place(before: Json, now: Json) -> Iterator[str]:
    """What of the place of the computation differs and decides bits."""
    if before.get("device", now["device"]) != now["device"]:
        yield "device"
    elif now["device"] == "cpu" and before.get("threads", now["threads"]) != now["threads"]:
        yield "threads"


def _way_out(before: Json, now: Json) -> str:
    """How the computation goes on as before. Not by compute.device, which a run keeps."""
    if before.get("device", now["device"]) == now["device"]:
        return f"set compute.cpus_per_worker={before['threads']}"
    if before["device"] == "cpu":
        return (
            "set CUDA_VISIBLE_DEVICES= in the environment (of a cluster at its `ray start`), which"
            " hides the GPUs"
        )
    return "go on where there is a GPU"


def _asks_a_model(x: Experiment, ledger: Ledger) -> bool:
    """Whether what is still to be chosen depends on a model at all."""
    first = x.chooses_first and bool(x.first.requires()) and not ledger.finished(0, FIRST)
    return first or bool(x.strategy.requires()) or x.guards.walks


def _has_computed(ledger: Ledger) -> bool:
    return any(ledger.folder.exists(f"cycle-000/{stage}") for stage in (FIRST, "train"))


def _shown(made: Json) -> str:
    threads = "1 thread" if made["threads"] == 1 else f"{made['threads']} threads"
    return f"{threads} on a CPU" if made["device"] == "cpu" else f"device {made['device']}"


def _changes(what: str, old: Json, new: Json, digits: int | None = None) -> list[str]:
    """`torch 2.13.0 -> 2.14.0` for what is recorded there and here."""
    return [
        f"{what}{name} {str(old[name])[:digits]} -> {str(new[name])[:digits]}"
        for name in old.keys() & new.keys()
        if old[name] != new[name]
    ]


@cache  # to parse what an installer wrote takes longer than a stage of a tiny run
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout, or a slimmer MLflow
        return None
