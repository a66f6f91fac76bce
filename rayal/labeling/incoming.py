"""Answers on their way back: read by the tool's format, checked against what was asked, all
problems at once, nothing taken halfway."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rayal.errors import DataError, UsageError, quoted
from rayal.labeling.exchange.base import Answer, Asked, Format, Problem
from rayal.labeling.label_value import LabelKind, label_value
from rayal.labeling.request import ACCEPTED, Request
from rayal.labeling.votes import Vote

SHOWN = 20
"""Problems of one file that a message lists."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a zip of ours: the same folder gives the same bytes."""
SIGNS = re.compile(r"[^A-Za-z0-9._-]+")


class Given(NamedTuple):
    """A file that somebody gives, or a folder as the zip of its files."""

    name: str
    data: bytes

    @classmethod
    def at(cls, path: Path) -> "Given":
        """Raises UsageError where it cannot be read."""
        try:
            if path.is_dir():
                return cls(f"{path.name}.zip", _zipped(path))
            return cls(path.name, path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}; check the path") from error

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class Taken(NamedTuple):
    """What a file has brought."""

    votes: list[Vote]
    """Those that are new."""
    known: int
    """How many were there before, or say what the label of their unit is anyway."""
    late: int
    """How many of the new ones are for units that an earlier request asked for."""
    left: int = 0
    """How many say otherwise than what was taken before, and were left alone."""


class Stays(UsageError):
    """An answer says otherwise than what was taken before, and that stays."""


def check(
    given: Given,
    form: Format,
    asked: Asked,
    card: LabelKind,
    request: Request,
    annotator: str = "",
    *,
    leaving: bool = False,
) -> Taken:
    """The votes in a file, without those that are known already; `annotator` gave those that name
    nobody. An answer to an earlier request is known or late, and no second opinion.

    Raises UsageError with all that is wrong with any of them: another request's file, a unit that
    was not asked for, an unknown label, a mask of another size, two different answers of one
    annotator, another answer for a unit that an earlier request has labeled. With `leaving` those
    that differ from what was taken before are counted alone.
    """
    problems, new, known, left = list[str](), dict[tuple[str, str], Vote](), 0, 0
    check = _Check(asked, card, request, given.sha256, annotator)
    for found in _read(given, form, asked):
        if isinstance(found, Problem):
            problems.append(f"{found.where}: {found.reason}")
            continue
        try:
            vote = check.vote(found)
            key = vote.unit, vote.annotator
            if check.is_known(vote, found.request):
                known += 1
            elif key not in new:
                new[key] = vote
            elif new[key].value != vote.value:
                raise UsageError(check.differs(vote, new[key], "is in this file too"))
        except UsageError as error:
            if leaving and isinstance(error, Stays):
                left += 1
            else:
                problems.append(f"{found.where}: {error}")
    if problems:
        more = len(problems) - SHOWN
        told = problems[:SHOWN] + [f"and {more} more"] * (more > 0)
        raise UsageError.of(told, where=f"{given.name}, of which nothing was taken")
    own = frozenset(request.asked or ())
    return Taken([*new.values()], known, sum(unit not in own for unit, _ in new), left)


def _read(given: Given, form: Format, asked: Asked) -> Iterator[Answer | Problem]:
    try:
        yield from form.read(given.data, asked)
    except UsageError as error:
        raise UsageError(f"{given.name}: {error}") from error


def take(given: Given, taken: Taken, request: Request) -> None:
    """Keeps the file as it came, then its new votes; the same file twice changes nothing."""
    if not taken.votes:
        return
    folder = request.folder / ACCEPTED
    names = [name for name in folder.names() if given.sha256[:16] in name]
    if not names:
        number = len(folder.names())
        folder.write(f"{number:06d}-{given.sha256[:16]}-{_safe(given.name)}", given.data)
    request.tell(taken.votes)


@dataclass(frozen=True)
class _Check:
    """Answers of one file against what was asked and told before."""

    asked: Asked
    card: LabelKind
    request: Request
    source: str
    annotator: str

    def vote(self, answer: Answer) -> Vote:
        """Raises UsageError for one that cannot be taken."""
        item = self.asked.by_unit.get(answer.unit)
        if item is None:
            raise UsageError(f"{quoted(answer.unit)} was not asked for; leave it out")
        value = None
        if answer.label is not None:
            try:
                value = label_value(answer.label, self.card, item.size)
            except (DataError, UsageError) as error:
                raise UsageError(f"{quoted(answer.unit)}: {error}") from error
        who, rule = answer.annotator or self.annotator, self.request.rule
        if any("\ud800" <= sign <= "\udfff" for sign in who):  # what no file can hold
            raise UsageError(f"the annotator {quoted(who)} is no text; export it again")
        if rule.votes > 1 and not who:
            raise UsageError(
                f"{quoted(answer.unit)}: nobody is named, and {rule.votes} annotators are asked for"
                " each unit; say who with --annotator (in Python: annotator=)"
            )
        if rule.cost == "seconds" and answer.seconds is None:
            raise UsageError(
                f"{quoted(answer.unit)} says no time, and the budget counts seconds; fill in how"
                " many it took"
            )
        return Vote(answer.unit, value, who, answer.seconds, answer.at, self.source)

    def is_known(self, vote: Vote, name: str) -> bool:
        """Whether it adds nothing to what there is; raises Stays where it contradicts that. `name`:
        the request that it answers, empty where nobody says."""
        place = self._places.get(name)
        if place is None and name != self.request.name and self._is_copy(vote):
            return True
        there = self._there(vote, place)
        if there is not None:
            if there.value != vote.value:
                raise Stays(self.differs(vote, there, "was taken before"))
            return True
        answered = place is not None and vote.unit in self._answered[place]
        if vote.unit in self._own and not answered:
            return False
        return self._is_settled(vote)

    def _is_copy(self, vote: Vote) -> bool:
        """Whether it is one that an earlier request holds, by all that is known of it."""

        def said(each: Vote) -> tuple[object, ...]:
            return each.annotator, each.value, each.at, each.seconds

        measured = bool(vote.at) or vote.seconds is not None
        return any(
            said(each) == said(vote) and (measured or each.source == vote.source)
            for request in self.request.before
            for each in request.votes.get(vote.unit, ())
        )

    def _there(self, vote: Vote, place: int | None) -> Vote | None:
        """What the same annotator has said of it to the request at this place or, late, to one
        after it; None is the place of the open one."""
        after = () if place is None else self.request.before[place:]
        for request in (*after, self.request):
            for each in request.votes.get(vote.unit, ()):
                if each.annotator == vote.annotator:
                    return each
        return None

    def _is_settled(self, vote: Vote) -> bool:
        """Whether the unit has its label; raises Stays where that is another."""
        if vote.unit not in self.request.settled:
            return False
        by, label = self.request.settled[vote.unit]
        if label.value != vote.value and not any(
            (each.annotator, each.value) == (vote.annotator, vote.value)
            for each in (*by.votes.get(vote.unit, ()), *by.earlier.get(vote.unit, ()))
        ):
            raise Stays(
                f"{quoted(vote.unit)} is {self._named(vote)}, but its label of {by.stage} is"
                f" {self._named(Vote(vote.unit, label.value))}, and that stays; leave it out"
            )
        return True

    def differs(self, vote: Vote, there: Vote, place: str) -> str:
        """What is wrong with two answers of one annotator."""
        who = f" by {quoted(vote.annotator)}" if vote.annotator else ""
        return (
            f"{quoted(vote.unit)} is {self._named(vote)}{who}, but {self._named(there)} of the same"
            f" annotator {place}; leave one of them out"
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        """Name of an earlier request -> its place among those."""
        return {each.name: place for place, each in enumerate(self.request.before)}

    @cached_property
    def _answered(self) -> list[frozenset[str]]:
        """The units that each of the earlier requests has a label of."""
        return [frozenset(each.told) for each in self.request.before]

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset(self.request.asked or ())

    def _named(self, vote: Vote) -> str:
        if vote.value is None:
            return "a skip"
        classes = self.card.classes
        return quoted(classes[vote.value]) if isinstance(vote.value, int) else "another mask"


def _zipped(path: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file in _files(path):
            entry = zipfile.ZipInfo(file.relative_to(path).as_posix(), EPOCH)
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(file for file in path.rglob("*") if file.is_file())


def _safe(name: str) -> str:
    return SIGNS.sub("_", name)[-60:] or "file"
