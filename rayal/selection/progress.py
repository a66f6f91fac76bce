"""Picks of a selection under way, for one that was killed to go on with the same picks."""

import logging
from typing import Any

from rayal.errors import StorageError, counted
from rayal.storage.folder import Folder, Json

KEEP = 256
"""Picks after which they are written again."""
UNDER_WAY = ".picks.json"
"""Suffix of the files that picks so far are kept in."""

logger = logging.getLogger(__name__)


class Progress:
    """What is known of a selection that has begun: here of one that starts anew, and is not kept.

    What is kept must be enough to go on from: the picks, and what else a strategy says.
    """

    def __init__(self, state: Json | None = None) -> None:
        self.state: Json = state or {}
        """What was kept beside the picks."""
        self.picks: list[int] = list(self.state.pop("picks", []))
        """Places in the seeded order of equals, best first."""
        self._kept = len(self.picks)

    def add(self, picks: list[int], **state: Any) -> None:
        """More picks; with `state` as it is after them."""
        self.picks += picks
        self.state |= state
        if len(self.picks) >= self._kept + KEEP:
            self.keep()

    def keep(self, **state: Any) -> None:
        """Makes all of it durable, with more of `state`."""
        self.state |= state
        self._kept = len(self.picks)
        self._write({**self.state, "picks": self.picks})

    def _write(self, state: Json) -> None:
        """Nothing: what is lost is done again."""


class KeptProgress(Progress):
    """Kept in a file, which is whole at any time."""

    def __init__(self, folder: Folder, name: str, of: Json) -> None:
        """`of`: all that decides the picks. What another selection left there is written over."""
        self.folder, self.name, self.of = folder, name, of
        super().__init__(self._left())

    def _left(self) -> Json:
        """What is there of this selection."""
        try:
            found: Json = self.folder.read_sealed(self.name, default={})
        except StorageError as error:
            logger.warning("%s; the selection begins anew", error)
            return {}
        if found.pop("of", None) != self.of:
            return {}
        logger.info("going on after %s, of %s", counted(len(found["picks"]), "pick"), self.name)
        return found

    def _write(self, state: Json) -> None:
        self.folder.write_sealed(self.name, {**state, "of": self.of})
