"""Answers with what somebody has told: the oracle of `rayal.ActiveLearner`."""

from collections.abc import Sequence
from typing import ClassVar

from rayal.data.store import Store
from rayal.errors import LabelsPending
from rayal.labeling.oracles.base import Label, Oracle
from rayal.labeling.request import Request
from rayal.storage.folder import Folder


class Told(Oracle):
    """Asks in a folder beside that of the stage, where `ActiveLearner.tell` puts the answers; each
    costs 1.

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
        return {unit: request.told[unit] for unit in ids}
