"""A whole page: its title, and its sections in their order."""

from collections.abc import Iterator

from rayal.errors import counted
from rayal.report.page import (
    agreement,
    balance,
    classes,
    costs,
    explored,
    fine_tuned,
    learning_curves,
    measures,
    outlook,
    picks,
    pool_map,
    predictions,
    setup,
    standings,
    verdict,
)
from rayal.report.page.blocks import Section
from rayal.report.page.markup import written
from rayal.report.page.originals import Originals
from rayal.report.page.seen import Seen
from rayal.report.page.thumbnails import Thumbnails

PICKS, MAPS = 500_000, 400_000
"""Characters of the pictures of a page: of what was chosen, and in the maps."""
FEW = 120_000
"""In the maps when a run ends, which does not wait for more."""


def html(seen: Seen) -> str:
    """The whole page."""
    names = dict.fromkeys(group.question for group in seen.summary.groups)
    arms = sum(len(group.arms) for group in seen.groups)
    left = sum(not record.complete for record in seen.records)
    facts = [counted(len(seen.records), "run"), counted(arms, "arm")]
    facts += [f"{left} not complete"] if left else []
    return written(", ".join(names), facts, [each for each in _sections(seen) if each is not None])


def _sections(seen: Seen) -> Iterator[Section | None]:
    """In the order in which they are read."""
    originals = Originals(seen)
    yield verdict.section(seen)
    yield learning_curves.section(seen)
    yield fine_tuned.section(seen)
    yield standings.section(seen)
    yield outlook.section(seen)
    yield explored.section(seen)
    yield costs.section(seen)
    yield classes.section(seen)
    yield measures.section(seen)
    yield predictions.section(seen, originals)
    yield balance.section(seen, originals)
    yield picks.section(seen, originals, Thumbnails(PICKS))
    yield pool_map.section(seen, originals, Thumbnails(MAPS if seen.asks_models else FEW))
    yield agreement.section(seen)
    yield setup.section(seen)
