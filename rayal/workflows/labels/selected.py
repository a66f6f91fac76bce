"""Labels of a selection, which no run waits for: taken into its request, and told as tables."""

from dataclasses import dataclass

from rayal.errors import UsageError
from rayal.labeling import incoming
from rayal.labeling.exchange.base import Asked, Format
from rayal.labeling.incoming import Given
from rayal.labeling.label_value import Classes
from rayal.labeling.outgoing import read_asked
from rayal.labeling.request import Request
from rayal.parts import build
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage import csv_file
from rayal.storage.folder import Folder
from rayal.workflows.labels.add import Added
from rayal.workflows.labels.waiting import alone
from rayal.workflows.select.to_label import AGAIN, LABELS, LEFT, SOURCE

REFUSED, DISPUTED, WAITING = "cannot be labeled", "disputed", "waiting"
"""What is said of a unit without a label."""


@dataclass(frozen=True)
class Selected:
    """The request of a selection."""

    request: Request
    asked: Asked
    form: Format

    @classmethod
    def at(cls, url: str, plugins: Plugins = NO_PLUGINS) -> "Selected":
        """Raises UsageError where it is not there whole."""
        folder = Folder(url)
        asked = read_asked(folder, AGAIN)
        if asked is None:
            raise UsageError(f"{folder.url} is not written to its end; {AGAIN}")
        form: Format = build("formats", folder.read_sealed(SOURCE)["format"], plugins)
        return cls(Request.at(folder), asked, form)

    def write_tables(self) -> None:
        """The labels, and what has none, so that whoever trains on the labels takes them as they
        are."""
        told, disputed = self.request.told, frozenset(self.request.disputed)
        labels, left = list[tuple[object, ...]](), list[tuple[object, ...]]()
        for item in self.asked.items:
            value = told[item.unit].value if item.unit in told else None
            if isinstance(value, int):
                labels.append((item.rank, item.unit, self.asked.classes[value]))
                continue
            why = REFUSED if item.unit in told else DISPUTED if item.unit in disputed else WAITING
            left.append((item.rank, item.unit, why))
        for name, last, rows in ((LEFT, "why", left), (LABELS, "label", labels)):
            self.request.folder.write(name, csv_file.dump(["rank", "id", last], rows).encode())


def is_selected(url: str) -> bool:
    """Whether this is the folder of a selection's request."""
    return Folder(url).exists(SOURCE)


def add_to_selected(
    url: str,
    given: Given,
    *,
    annotator: str = "",
    check: bool = False,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
) -> Added:
    """Takes the answers in a file into the request of a selection, all of them or nothing, and
    writes its tables; with `check` only looks at them.

    Raises UsageError with all that is wrong, and then takes nothing.
    """
    with alone(url, break_lock=break_lock):
        what = Selected.at(url, plugins)
        request, kind = what.request, Classes(what.asked.classes)
        taken = incoming.check(given, what.form, what.asked, kind, request, annotator)
        if not check:
            incoming.take(given, taken, request)
            what.write_tables()
        return Added(
            file=given.name,
            new=len(taken.votes),
            known=taken.known,
            waiting=len(request.waiting),
            of=len(request.asked or ()),
            checked=check,
            disputed=len(request.disputed),
            labels=f"{request.folder.url}/{LABELS}",
        )
