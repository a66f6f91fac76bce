"""`rayal labels add`: a file of answers, all of it or nothing."""

from pathlib import Path
from typing import NamedTuple

from rayal.errors import counted
from rayal.labeling import incoming
from rayal.labeling.incoming import Given
from rayal.labeling.outgoing import ask_again
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import Folder
from rayal.workflows.labels.waiting import Waiting, alone, waiting


class Added(NamedTuple):
    """What a file has brought to a run."""

    file: str
    new: int
    """Votes that were taken, or would be (`check`)."""
    known: int
    """Votes that were there already, or say of a unit what its label is anyway."""
    waiting: int
    """Units that have no label yet."""
    of: int
    """Units that were asked for."""
    checked: bool
    """Whether the file was only looked at."""
    late: int = 0
    """How many of the new votes answer an earlier request, without which the run went on."""
    disputed: int = 0
    """Units among those that have no label yet, of which the annotators say different things."""
    again: str | None = None
    """The folder of a request of the disputed ones, for another annotator."""
    left: int = 0
    """Answers that differ from what was taken before, and were left alone."""
    enough: bool = False
    """Whether the run can go on."""
    labels: str = ""
    """The table of all labels so far, where no run waits for them; empty where one does."""

    @property
    def lines(self) -> list[str]:
        """For people."""
        took = "would take" if self.checked else "took"
        said = f"{self.file}: {took} {counted(self.new, 'answer')}"
        said += f", {self.known:,} were there already" if self.known else ""
        said += f", {self.late:,} of them late ones to an earlier request" if self.late else ""
        lines = [said]
        if self.left:
            differ = counted(self.left, "answer differs", "answers differ")
            lines.append(f"{differ} from what was taken before, which stays: left alone")
        if self.waiting and not self.labels:
            lines.append(f"{self.waiting:,} of {counted(self.of, 'label')} missing")
        disputed = counted(self.disputed, "unit is", "units are") + " disputed"
        if self.again:
            lines.append(f"{disputed}: {self.again}")
        elif self.disputed and self.labels:
            lines.append(f"{disputed}: no label until one more annotator has answered")
        if self.labels:
            done = f"{self.of - self.waiting:,} of {counted(self.of, 'unit')} done"
            lines.append(done if self.checked else f"{done}: {self.labels}")
        elif self.enough:
            lines.append(
                ("nothing is missing" if not self.waiting else "that is enough")
                + ": the run's own command goes on"
            )
        return lines


def add(
    run: str,
    file: Path,
    *,
    annotator: str = "",
    check: bool = False,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
) -> Added:
    """Takes the answers in a file of the labeling tool into the run that waits for them; with
    `check` only looks at them. `annotator` gave those that name nobody.

    Raises UsageError with all that is wrong, and then takes nothing.
    """
    given = Given.at(file)
    place = Folder(run).url
    with alone(place, break_lock=break_lock):
        return taken(waiting(place, plugins), given, annotator=annotator, check=check)


def taken(
    what: Waiting,
    given: Given,
    *,
    annotator: str = "",
    check: bool = False,
    leaving: bool = False,
) -> Added:
    """As `add`, of a run that is locked: what a labeling tool has given, by whatever way. With
    `leaving` answers that differ from what was taken before are left alone."""
    request, form, card = what.request, what.oracle.format, what.store.card
    found = incoming.check(given, form, what.asked, card, request, annotator, leaving=leaving)
    again = None
    if not check:
        incoming.take(given, found, request)
        again = ask_again(form, what.asked, request)
    return Added(
        file=given.name,
        new=len(found.votes),
        known=found.known,
        waiting=len(request.waiting),
        of=len(request.asked or ()),
        checked=check,
        late=found.late,
        disputed=len(request.disputed),
        again=again,
        left=found.left,
        enough=request.enough,
    )
