"""`rayal labels status`: what was asked of people so far, what is in, and what to do next."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rayal.labeling.outgoing import FILE, REQUEST, disputed_folder
from rayal.labeling.reliability import Annotator, alpha, annotators
from rayal.labeling.request import Request
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.shown import as_html, text
from rayal.runs.record import Record
from rayal.storage.folder import Json
from rayal.workflows.labels.selected import Selected
from rayal.workflows.labels.waiting import asking
from rayal.workflows.select.to_label import LABELS

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class RequestStatus:
    """One request."""

    cycle: int | None
    """-1 for the first units, before the first training; null of a selection, which has no run."""
    asked: int
    labeled: int
    """Units of those with a label."""
    skipped: int
    """Units of which was said that they cannot be labeled."""
    missing: int
    """Units without enough votes yet; of a closed request those that the run went on without."""
    disputed: int
    """Units among the missing ones whose votes differ."""
    late: int
    """Labels besides, of units that an earlier request had asked for."""
    open: bool
    """Whether answers are waited for, or would still be taken."""
    alpha: float | None
    """Krippendorff's alpha of all votes, see `rayal.labeling.reliability`; null where no unit has
    two."""
    annotators: tuple[Annotator, ...]


@dataclass(frozen=True)
class LabelStatus:
    """Where the labels of a run are, or of a selection."""

    run: str
    """Its folder; of a selection that of its request."""
    requests: tuple[RequestStatus, ...]
    next: str
    """What to do."""

    def to_dict(self) -> Json:
        """As JSON."""
        requests = [
            {**asdict(each), "annotators": [one._asdict() for one in each.annotators]}
            for each in self.requests
        ]
        return {"run": self.run, "requests": requests, "next": self.next}

    def to_rich(self) -> "Group":
        """As tables for a terminal: a row per request, a row per annotator of each."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        columns = ("cycle", "asked", "labeled", "skipped", "missing", "disputed", "late", "alpha")
        asked = Table(*columns, box=None)
        people = Table("cycle", "annotator", "answers", "skipped", "agrees", "median s", box=None)
        for table in (asked, people):
            for column in table.columns:
                column.justify = "right"
        people.columns[1].justify = "left"
        for each in self.requests:
            numbers = (each.asked, each.labeled, each.skipped, each.missing, each.disputed)
            cycle = _titled(each.cycle)
            told = "" if each.alpha is None else f"{each.alpha:.3f}"
            asked.add_row(cycle, *(f"{number:,}" for number in (*numbers, each.late)), told)
            for one in each.annotators:
                people.add_row(cycle, Text(one.name or "(nobody named)"), *_numbers(one))
        if not self.requests:
            return Group()
        return Group(asked, Text(""), people) if people.row_count else Group(asked)

    def __str__(self) -> str:
        return f"{text(self.to_rich())}\nnext    {self.next}".strip()

    def _repr_html_(self) -> str:
        return as_html(str(self))


def _titled(cycle: int | None) -> str:
    if cycle is None:
        return "none"
    return "first" if cycle < 0 else str(cycle)


def _numbers(one: Annotator) -> Iterator[str]:
    yield f"{one.answers:,}"
    yield f"{one.skipped:,}"
    yield f"{one.agreeing:,} of {one.compared:,}" if one.compared else ""
    yield "" if one.seconds is None else f"{one.seconds:.1f}"


def state(run: str, plugins: Plugins = NO_PLUGINS) -> LabelStatus:
    """Where the labels of the run in this folder are; nothing is written.

    Raises UsageError where it asks no people, StorageError where a file is damaged.
    """
    record, _, _ = asking(run, plugins)
    now = record.request()
    requests = [
        _asked(cycle, request, now is not None and request.folder.url == now[2].folder.url)
        for cycle, request in record.requests()
    ]
    what = _next(record, None if now is None else now[2])
    return LabelStatus(record.folder.url, tuple(requests), what)


def state_of_selection(url: str, plugins: Plugins = NO_PLUGINS) -> LabelStatus:
    """Where the labels of a selection are, whose request is in this folder; nothing is written.

    Raises UsageError where it is not written to its end, StorageError where a file is damaged.
    """
    request = Selected.at(url, plugins).request
    place = request.folder.url
    if request.waiting:
        what = _to_answer(request, place)
    else:
        what = f"nothing: all are answered, and their labels are in {place}/{LABELS}"
    return LabelStatus(place, (_asked(None, request, bool(request.waiting)),), what)


def _asked(cycle: int | None, request: Request, is_open: bool) -> RequestStatus:
    asked, told = request.asked or (), request.told
    own = [told[unit] for unit in asked if unit in told]
    skipped = sum(label.value is None for label in own)
    return RequestStatus(
        cycle=cycle,
        asked=len(asked),
        labeled=len(own) - skipped,
        skipped=skipped,
        missing=len(asked) - len(own),
        disputed=len(request.disputed),
        late=len(request.late),
        open=is_open,
        alpha=alpha(request.votes),
        annotators=tuple(annotators(request.votes, told)),
    )


def _next(record: Record, request: Request | None) -> str:
    if request is None:
        if record.complete:
            return "nothing: the run is complete"
        return "nothing is asked at the moment: the run's own command goes on"
    if request.enough:
        rest = len(request.waiting)
        late = f"; {rest:,} more are taken until then" if rest else ""
        return f"enough is in: the run's own command goes on{late}"
    return _to_answer(request, record.folder.url)


def _to_answer(request: Request, place: str) -> str:
    """What people do about a request, and where their answers go then."""
    folder, where = request.folder, shlex.quote(place)
    missing = [unit for unit in request.waiting if unit not in frozenset(request.disputed)]
    if request.disputed and not missing:
        again = disputed_folder(request)
        if again.exists(FILE):
            return f"let another annotator answer {again.url}, then: rayal labels add {where} FILE"
    return f"answer {folder.url}/{REQUEST}, then: rayal labels add {where} FILE"
