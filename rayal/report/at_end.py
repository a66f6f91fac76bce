"""The page that a run or a sweep writes when it ends, and what happens where it cannot."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rayal.report.page.command import command
from rayal.runs.record import Record

if TYPE_CHECKING:
    from rayal.report.tables import Summary

logger = logging.getLogger(__name__)


def page_of(records: Sequence[Record], summary: "Summary | None" = None) -> bytes | None:
    """The page of these runs, for which no model is loaded; None, and a warning that names the
    command which writes it, where that fails: no run depends on its page."""
    try:
        from rayal.report.page.document import html  # with all that it shows: takes a moment
        from rayal.report.page.seen import Seen
        from rayal.report.tables import summarise

        seen = Seen(summary or summarise(records), records, asks_models=False)
        return html(seen).encode()
    except Exception as error:
        logger.warning("no page (%s); write it with: %s", error, command(records))
        return None
