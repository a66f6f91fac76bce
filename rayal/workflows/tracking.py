"""What the runs of one folder say together, for a tracker: mean curves and areas of its arms."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

from rayal.errors import Apart, RayalError
from rayal.report.runs import Run
from rayal.report.tables import Summary, summarise
from rayal.runs.record import Record
from rayal.runs.trackers.base import Found, Tracker, sync_command
from rayal.storage.folder import Folder

BESIDE = 200
"""Folders beside a run that are looked at for runs of the same experiment, at most."""

logger = logging.getLogger(__name__)


def found(
    summary: Summary,
    where: str,
    files: Mapping[str, bytes] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Found]:
    """Of each group of runs in one place."""
    return [
        Found(
            name=group.name,
            place=where,
            metric=group.metric,
            curves={
                arm.label: {at: mean.mean for at in arm.labels if (mean := arm.at(at)) is not None}
                for arm in group.arms
            },
            areas={
                arm.label: sum(areas.values()) / len(areas)
                for arm in group.arms
                if (areas := group.areas(arm))
            },
            files=files or {},
            notes=notes or {},
        )
        for group in summary.groups
    ]


def show(tracker: Tracker, records: Iterable[Record]) -> None:
    """Show what these runs say together with the runs beside them.

    Runs that cannot be read, or that a report could not tell apart, are left out. Raises
    StorageError where the tracker cannot be reached.
    """
    if type(tracker).summarise is Tracker.summarise:
        return
    places: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        places[record.place].setdefault(record.experiment()["name"], record)
    for where, named in places.items():
        for each in _of_place(where, next(iter(named.values()))):
            if each.name in named:
                tracker.summarise(each)


def show_beside(tracker: Tracker, record: Record) -> None:
    """As `show`, for a run that has ended; a failure is a warning. A sweep shows itself."""
    if record.sweep is not None:
        return
    try:
        show(tracker, [record])
    except RayalError as error:
        logger.warning("tracking: %s; send the rest with: %s", error, sync_command(record))


def _of_place(where: str, one: Record) -> list[Found]:
    """Of all the runs that are there; `one` is among them."""
    folder = Folder(where) if one.sweep is None else Folder(where) / "trials"
    names, apart, records = folder.folders(), Apart(), list[Record]()
    if len(names) > BESIDE:
        logger.warning("tracking: %s holds %d folders; no curves of all", where, len(names))
        return []
    for name in names:
        with apart.kept():
            if (folder / name).exists("run.json"):
                record = Record(folder / name, one.plugins)
                Run.read(record)
                records.append(record)
    try:
        return found(summarise(records), where)
    except RayalError as error:
        logger.info("no curves of all runs in %s: %s", where, error)
        return []
