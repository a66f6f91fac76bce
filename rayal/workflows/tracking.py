"""What the runs of one folder say together, for a tracker: mean curves and areas of its arms."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rayal.errors import Apart, RayalError
from rayal.report.at_end import page_of
from rayal.report.page.command import PAGE
from rayal.report.runs import Run
from rayal.report.tables import Summary, summarise
from rayal.runs.record import Record
from rayal.runs.trackers.base import Found, Tracker, sync_command
from rayal.storage.folder import Folder

BESIDE, SHOWN = 200, 20
"""Folders beside a run that are looked at for runs of the same experiment, at most; and runs that
one page and one figure show of them, at most: it is drawn again with each that ends."""
TOGETHER = "runs"
"""The folder of the parent run's artifacts that these are in."""

logger = logging.getLogger(__name__)


def found(
    summary: Summary,
    where: str,
    files: Mapping[str, bytes] | None = None,
    notes: Mapping[str, str] | None = None,
    folder: str = "sweep",
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
            folder=folder,
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
        for each in _of_place(where, named):
            tracker.summarise(each)


def show_beside(tracker: Tracker, record: Record) -> None:
    """As `show`, for a run that has ended; a failure is a warning. A sweep shows itself."""
    if record.sweep is not None:
        return
    try:
        show(tracker, [record])
    except RayalError as error:
        logger.warning("tracking: %s; send the rest with: %s", error, sync_command(record))


def _of_place(where: str, named: Mapping[str, Record]) -> list[Found]:
    """Of all the runs that are there of these names; one of each is given."""
    one = next(iter(named.values()))
    folder = Folder(where) if one.sweep is None else Folder(where) / "trials"
    names, apart, records = folder.folders(), Apart(), defaultdict[str, list[Record]](list)
    if len(names) > BESIDE:
        logger.warning("tracking: %s holds %d folders; no curves of all", where, len(names))
        return []
    for name in names:
        with apart.kept():
            if (folder / name).exists("run.json"):
                record = Record(folder / name, one.plugins)
                records[Run.read(record).name].append(record)
    told = list[Found]()
    for name in named:
        try:
            told += _together(where, records[name])
        except RayalError as error:
            logger.info("no curves of all runs of %r in %s: %s", name, where, error)
    return told


def _together(where: str, records: Sequence[Record]) -> list[Found]:
    """Of runs of one name."""
    summary = summarise(records)
    if any(record.sweep for record in records):  # which sends its files itself
        return found(summary, where)
    return found(summary, where, _files(records, summary), folder=TOGETHER)


def _files(records: Sequence[Record], summary: Summary) -> dict[str, bytes]:
    """The page and the curves of several runs; a single one has its own."""
    if not 1 < len(records) <= SHOWN:
        return {}
    from rayal.report.curves import drawn  # loads what draws

    page = page_of(records, summary)
    curves = {"curves.png": drawn(summary)[0]}
    return curves if page is None else {PAGE: page, **curves}
