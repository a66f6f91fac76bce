"""What every stage follows from: a digest of all that was decided before it, in its `done.json`.

A stage whose folder is gone is done again from what is before it, and what is after it was made
from the one that is gone. Where both came out the same, the run is whole again.
"""

import hashlib
import json
import logging

from rayal.errors import StorageError
from rayal.runs.ledger import FOLLOWS, Ledger
from rayal.runs.result import StageResult
from rayal.storage.folder import Folder
from rayal.storage.journal import read_done

logger = logging.getLogger(__name__)


class Chain:
    """Follows a run from its first stage on, each stage in its turn."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.digest = ""
        """sha256 of what all stages so far have decided."""

    def add(self, result: StageResult) -> None:
        """The stage that was done, or found done."""
        if decided := result.decides():
            self.digest = hashlib.sha256(json.dumps([self.digest, decided]).encode()).hexdigest()

    def check(self, cycle: int, stage: str) -> None:
        """Raises StorageError for a finished stage that was made from something else."""
        out = self.ledger.stage(cycle, stage)
        if read_done(out).get(FOLLOWS, self.digest) != self.digest:
            raise StorageError(
                f"{out.url} was made from something else than the stages before it hold now: one of"
                f" them was done again and came out differently; {self._way_out(cycle, stage)}"
            )

    def check_gap(self, cycle: int, kind: type[StageResult]) -> None:
        """Says that a missing stage, which others follow, is done again.

        Raises StorageError where it could not be seen whether those follow from it still.
        """
        later = self.ledger.later(cycle, kind.stage)
        if not later:
            return
        out, decides = self.ledger.stage(cycle, kind.stage), kind.decides is not StageResult.decides
        if decides and not all(FOLLOWS in read_done(folder) for folder in later):
            raise StorageError(
                f"{out.url} is missing, and the rayal that made the stages after it did not record"
                f" what they were made from; restore it from a copy, or"
                f" {self._way_out(cycle, kind.stage)}"
            )
        logger.warning(
            "%s is missing although %s is there: it is done again, and what follows is compared",
            *(out.url, later[0].url),
        )

    def _way_out(self, cycle: int, stage: str) -> str:
        later = [*self.ledger.later(cycle, stage)]
        own = self.ledger.stage(cycle, stage)
        return f"delete {_listed([own, *later])}, and the same command does all of that again"


def _listed(folders: list[Folder]) -> str:
    return "the folders " + " ".join(folder.url for folder in folders)
