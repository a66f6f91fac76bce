"""Answers with what somebody has told: the oracle of `rayal.ActiveLearner`."""

from collections.abc import Sequence
from typing import ClassVar

from rayal.data.store import Store
from rayal.errors import LabelsPending
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.request import Request
from rayal.labeling.votes import IMPORTED
from rayal.storage.folder import Folder


class Told(Oracle):
    """Asks in a folder beside that of the stage, where `ActiveLearner.tell` puts the answers; each
    costs 1, and 0 what was labeled before anybody was asked.

    Labels of the dataset's own pool are never looked at, and need not exist.
    """

    asked: ClassVar[bool] = True

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        if not ids:
            return {}
        request = Request(out)
        request.ask(ids)
        if request.waiting:
            raise LabelsPending(str(request))
        told = request.told
        free = {unit for unit, votes in request.votes.items() if votes[0].source == IMPORTED}
        return {unit: told[unit]._replace(cost=0.0) if unit in free else told[unit] for unit in ids}
