"""What somebody was asked for in a stage, and what they have told so far: a folder beside its own.

    label-asked/asked.json              the units, in order of rank
    label-asked/told/000000-*.parquet   the answers of one telling; its sha256 is in its name

Both are there before the stage is finished, and stay when its folder is deleted to do it again:
nobody gives answers twice.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

from rayal.errors import StorageError, counted
from rayal.labeling.answers import dump_answers, parse_answers
from rayal.labeling.oracles.base import Label
from rayal.storage.folder import Folder, suggesting

ASKED, TOLD = "asked.json", "told"


class Request:
    """The request of one stage, as its files hold it; what this process adds is seen at once."""

    def __init__(self, out: Folder) -> None:
        """`out`: the folder of the stage."""
        self.folder = Folder(f"{out.url}-asked")

    @cached_property
    def asked(self) -> tuple[str, ...] | None:
        """The units asked for, the first to be labeled first; None where nobody was asked yet."""
        written = self.folder.read_sealed(ASKED, default=None)
        return None if written is None else tuple(written["ids"])

    @cached_property
    def told(self) -> dict[str, Label]:
        """What was answered, in the order of telling; may be there before anything was asked.

        Raises StorageError for a file that is damaged.
        """
        return {
            unit: Label(value, cost)
            for name in self._files()
            for unit, value, cost in parse_answers(self._read(name))
        }

    @property
    def labeled(self) -> int:
        """How many units have a label; of the others was told that they cannot have one."""
        return sum(label.value is not None for label in self.told.values())

    @property
    def waiting(self) -> list[str]:
        """The units asked for that nobody has answered, in order."""
        return [unit for unit in self.asked or () if unit not in self.told]

    def __str__(self) -> str:
        """`waiting for 12 of 50 labels`"""
        return f"waiting for {len(self.waiting)} of {counted(len(self.asked or ()), 'label')}"

    def ask(self, units: Sequence[str]) -> None:
        """Ask for these units, unless some were asked for already."""
        if self.asked is None:
            self.ask_more(units)

    def ask_more(self, units: Sequence[str]) -> None:
        """Ask for these units besides those that were asked for."""
        asked = (*(self.asked or ()), *units)
        self.folder.write_sealed(ASKED, {"ids": list(asked)})
        self.asked = asked

    def tell(self, answers: Mapping[str, Label]) -> None:
        """Keep these answers, all of them or, if the process dies, none."""
        data = dump_answers(answers)
        number = len(self._files())
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / TOLD).write(f"{number:06d}-{digest}.parquet", data)
        self.told.update(answers)

    def _files(self) -> list[str]:
        return [name for name in (self.folder / TOLD).names() if name.endswith(".parquet")]

    def _read(self, name: str) -> bytes:
        folder = self.folder / TOLD
        again = "delete it and tell those labels again"
        with suggesting(again):
            data = folder.read(name)
        if f"-{hashlib.sha256(data).hexdigest()}.parquet" not in name:
            where = f"{folder.url}/{name}"
            raise StorageError(f"{where} is damaged; restore it from a copy, or {again}")
        return data
