"""What somebody was asked for in a stage, and what they have told so far: a folder beside its own.

    label-asked/asked.json              the units, in order of rank, the rule for their votes, and
                                        how many labels are enough
    label-asked/earlier/*.parquet       the votes that some of them have from earlier requests
    label-asked/told/000000-*.parquet   the votes of one telling; its sha256 is in its name
    label-asked/accepted/*              files of a labeling tool that votes came in, as they were
    label-asked/suggested.parquet       what the model says of the units, see `suggestions`
    label-asked/request/                what goes to a labeling tool, see `outgoing`

A run may go on without some of them. Late answers are told to the request that is open then, which
has taken over what those before it could not use.

All are there before the stage is finished, and stay when its folder is deleted to do it again:
nobody gives answers twice.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from rayal.errors import StorageError, counted
from rayal.labeling.agreement import Agreement
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import NO_VOTES, Vote, by_unit, dump_votes, parse_votes
from rayal.storage.failures import suggesting
from rayal.storage.folder import Folder, Json

ASKED, EARLIER, TOLD, ACCEPTED = "asked.json", "earlier", "told", "accepted"


class Request:
    """The request of one stage, as its files hold it; what this process adds is seen at once."""

    def __init__(self, out: Folder) -> None:
        """`out`: the folder of the stage."""
        self.folder = Folder(f"{out.url}-asked")

    @classmethod
    def at(cls, folder: Folder) -> "Request":
        """The request that a folder is itself, beside no stage."""
        request = cls(folder)
        request.folder = folder
        return request

    @cached_property
    def asked(self) -> tuple[str, ...] | None:
        """The units asked for, the first to be labeled first; None where nobody was asked yet."""
        return None if self._written is None else tuple(self._written["ids"])

    @cached_property
    def rule(self) -> Agreement:
        """How votes become labels; of one vote, where nothing was said."""
        written = self._written or {}
        return Agreement(**written.get("rule", {}))

    @property
    def needed(self) -> int | None:
        """How many labels are enough to go on; None where all are, and somebody tells them from
        Python."""
        needed = (self._written or {}).get("needed")
        return needed if isinstance(needed, int) else None

    @property
    def name(self) -> str:
        """Tells this request from those of other cycles and runs: a part of the sha256 of what was
        asked for first; empty where nobody was asked yet."""
        return "" if self._written is None else str(self._written.get("request", ""))

    @cached_property
    def votes(self) -> dict[str, list[Vote]]:
        """Unit -> what was said of it, in the order of telling; may be there before anything was
        asked.

        Raises StorageError for a file that is damaged.
        """
        return by_unit(self._kept(TOLD, "delete it and tell those labels again"))

    @cached_property
    def earlier(self) -> dict[str, list[Vote]]:
        """Unit -> its votes of earlier requests, of those that are asked for again.

        Raises StorageError for a file that is damaged.
        """
        return by_unit(self._kept(EARLIER, f"delete the folder {self.folder.url} and ask again"))

    @property
    def told(self) -> dict[str, Label]:
        """Unit -> its label, of those that have enough votes, in the order of their first one."""
        made = {
            unit: self.rule.label(votes, self.earlier.get(unit, ()))
            for unit, votes in self.votes.items()
        }
        return {unit: label for unit, label in made.items() if label is not None}

    @property
    def labeled(self) -> int:
        """How many units have a label; of the others was told that they cannot have one."""
        return sum(label.value is not None for label in self.told.values())

    @property
    def waiting(self) -> list[str]:
        """The units asked for that have no label yet, in order."""
        told = self.told
        return [unit for unit in self.asked or () if unit not in told]

    @property
    def disputed(self) -> list[str]:
        """Those of them whose annotators differ, so that another vote is needed, in order."""
        return [
            unit
            for unit in self.waiting
            if self.rule.is_disputed(self.votes.get(unit, ()), self.earlier.get(unit, ()))
        ]

    @property
    def late(self) -> list[str]:
        """The units that have a label and were not asked for here, but by an earlier request, and
        had none before."""
        asked = frozenset(self.asked or ())
        others = [unit for unit in self.told if unit not in asked]
        return [unit for unit in others if unit not in self.settled]

    @property
    def enough(self) -> bool:
        """Whether the run that asked can go on."""
        if self.asked is None:
            return False
        there = len(self.asked) - len(self.waiting)
        return there >= (len(self.asked) if self.needed is None else self.needed)

    @cached_property
    def before(self) -> tuple["Request", ...]:
        """The requests of the same run before this one, the first one first."""
        run, cycle, stage = self.folder.url.rsplit("/", 2)
        number = cycle.removeprefix("cycle-")
        if stage != "label-asked" or not number.isdigit():
            return ()
        names = ["cycle-000/initial", *(f"cycle-{n:03d}/label" for n in range(int(number)))]
        found = [Request(Folder(f"{run}/{name}")) for name in names]
        return tuple(each for each in found if each.asked is not None)

    @cached_property
    def settled(self) -> dict[str, tuple["Request", Label]]:
        """Unit -> label, of those that earlier requests have, or had before they were asked for a
        second opinion, and which of them."""
        found = dict[str, tuple[Request, Label]]()
        for each in self.before:
            rule = each.rule.model_copy(update={"votes": 1, "disputed": "first"})
            for unit, votes in each.earlier.items():
                if unit not in found and (label := rule.label(votes)) is not None:
                    found[unit] = each, label
            found |= {unit: (each, label) for unit, label in each.told.items()}
        return found

    @property
    def stage(self) -> str:
        """For people: `cycle 3`, or `the first units`."""
        cycle, stage = self.folder.url.rsplit("/", 2)[1:]
        number = cycle.removeprefix("cycle-").lstrip("0") or "0"
        return "the first units" if stage == "initial-asked" else f"cycle {number}"

    def __str__(self) -> str:
        """`waiting for 12 of 50 labels`; of people `waiting for 12 labels, 38 in`."""
        missing, of = len(self.waiting), len(self.asked or ())
        if self.needed is None:
            return f"waiting for {missing} of {counted(of, 'label')}"
        said = f"waiting for {counted(missing, 'label')}, {of - missing:,} in"
        if self.needed < of:
            said += f"; {self.needed:,} are enough"
        few = len(self.disputed)
        return f"{said}, {few:,} disputed" if few else said

    def ask(
        self,
        units: Sequence[str],
        rule: Agreement | None = None,
        needed: int | None = None,
        earlier: Mapping[str, Sequence[Vote]] = NO_VOTES,
    ) -> None:
        """Ask for these units, unless some were asked for already; of how many of those the labels
        are enough may change. `earlier` are votes that count besides those that will be told."""
        if self.asked is None:
            if earlier:
                self._keep(EARLIER, 0, [vote for votes in earlier.values() for vote in votes])
                self.__dict__.pop("earlier", None)
            name = _name_of(self.folder, units)
            self._write(units, Agreement() if rule is None else rule, name, needed)
        elif needed != self.needed:
            self._write(self.asked, self.rule, self.name, needed)

    def ask_more(self, units: Sequence[str]) -> None:
        """Ask for these units besides those that were asked for."""
        self._write((*(self.asked or ()), *units), self.rule, self.name, self.needed)

    def take_over(self, units: Sequence[str]) -> None:
        """Keep the votes of which earlier requests could not make a label, each once; whenever a
        process died in between. Of units that have one already, only where they are among the
        `units` that are to be asked for now."""
        wanted = frozenset(units)
        left = {
            (vote.unit, vote.annotator): vote
            for each in self.before
            for unit, votes in each.votes.items()
            for vote in votes
            if unit not in each.told and (unit in wanted or unit not in self.settled)
        }
        there = {(vote.unit, vote.annotator) for votes in self.votes.values() for vote in votes}
        if new := [vote for key, vote in left.items() if key not in there]:
            self.tell(new)

    def tell(self, votes: Sequence[Vote]) -> None:
        """Keep these votes, all of them or, if the process dies, none."""
        known = self.votes  # before these are there
        self._keep(TOLD, len(self._files(TOLD)), votes)
        for vote in votes:
            known.setdefault(vote.unit, []).append(vote)

    @cached_property
    def _written(self) -> Json | None:
        written: Json | None = self.folder.read_sealed(ASKED, default=None)
        return written

    def _write(self, units: Sequence[str], rule: Agreement, name: str, needed: int | None) -> None:
        written = {"ids": list(units), "rule": rule.model_dump(mode="json"), "request": name}
        self.folder.write_sealed(ASKED, {**written, "needed": needed})
        for cached in ("_written", "asked", "rule"):
            self.__dict__.pop(cached, None)

    def _keep(self, where: str, number: int, votes: Sequence[Vote]) -> None:
        data = dump_votes(votes)
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / where).write(f"{number:06d}-{digest}.parquet", data)

    def _kept(self, where: str, again: str) -> Iterator[Vote]:
        """The votes in all files of a folder; `again` is what helps where one is damaged."""
        folder = self.folder / where
        for name in self._files(where):
            with suggesting(again):
                data = folder.read(name)
            if f"-{hashlib.sha256(data).hexdigest()}.parquet" not in name:
                place = f"{folder.url}/{name}"
                raise StorageError(f"{place} is damaged; restore it from a copy, or {again}")
            yield from parse_votes(data)

    def _files(self, where: str) -> list[str]:
        return [name for name in (self.folder / where).names() if name.endswith(".parquet")]


def _name_of(folder: Folder, units: Sequence[str]) -> str:
    """Of a request for these units: another run's, cycle's or list's has another."""
    run, cycle, stage = folder.url.rsplit("/", 2)
    known = Folder(run).read_sealed("run.json", default={}).get("id", "") if run else ""
    written = json.dumps([known, cycle, stage, list(units)])
    return hashlib.sha256(written.encode()).hexdigest()[:16]
