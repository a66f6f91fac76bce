"""Units that were chosen to be labeled next."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rayal.errors import counted
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.report.shown import as_html
from rayal.workflows import select as selecting
from rayal.workflows.select.selection import Selection
from rayal.workflows.select.to_label import asking

if TYPE_CHECKING:  # takes long to import
    import pandas as pd

    from rayal.labeling.exchange.base import Format

logger = logging.getLogger(__name__)

SHOWN = 10
"""Picks that a notebook shows, half of them the first ones and half the last."""


class Picks:
    """K units, best first, and why.

    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(net[1].weight)
    >>> scores = rayal.score(net, torch.tensor([[9.0, 0], [1, 2], [5, 5]]), "margin")
    >>> picks = rayal.select(scores, budget=2)
    >>> len(picks), picks.ids, picks.spent, picks.reasons[0]
    (2, ['2', '1'], 2.0, 'highest score by margin')
    >>> list(picks.table())
    ['rank', 'id', 'score', 'predicted', 'reason']
    """

    def __init__(self, selection: Selection, named_classes: bool, scores: str) -> None:
        """`scores` is the folder of the pass."""
        self._selection, self._named, self._scores = selection, named_classes, scores

    @property
    def ids(self) -> list[str]:
        """K ids."""
        return self._selection.ids

    @property
    def scores(self) -> list[float] | None:
        """K scores; None for a strategy without scores."""
        return self._selection.scores

    @property
    def reasons(self) -> list[str]:
        """Why each was chosen, in words."""
        return self._selection.reasons

    @property
    def predicted(self) -> list[str] | list[int] | None:
        """The most probable class of each, by its name or, where classes have none, its number;
        None where the pass does not say."""
        predicted = self._selection.predicted
        return predicted if self._named or predicted is None else [*map(int, predicted)]

    @property
    def spent(self) -> float:
        """What they cost, in the budget's unit."""
        return self._selection.spent

    @property
    def passed_over(self) -> Mapping[str, int]:
        """How many units were left out on the way down, by cause."""
        return self._selection.passed_over

    @property
    def lines(self) -> list[str]:
        """What `rayal select` says at the end."""
        return self._selection.lines()

    def table(self) -> "pd.DataFrame":
        """A row per unit: rank (from 1), id, score, predicted, reason."""
        found = self._selection.table().to_pandas()
        if self.predicted is not None:
            found["predicted"] = self.predicted
        return found

    def write(self, out: str | os.PathLike[str]) -> str | None:
        """The table as `out`.csv, for people, and `out`.parquet, for programs; a path or a URL.

        Another selection that is there is kept as `out`-1 or with the next free number: returns
        that path, without its suffix, or None.
        """
        kept = selecting.write(self._selection, os.fspath(out))
        if kept is not None:
            logger.warning("%s held another selection; it is now %s.csv", os.fspath(out), kept)
        return kept

    def write_request(
        self,
        out: str | os.PathLike[str],
        request: "str | Mapping[str, Any] | Format" = "csv",
        *,
        classes: Sequence[str] | None = None,
        plugins: Iterable[str] = NO_PLUGINS,
    ) -> str:
        """Hands the picks to people: the folder `out`.request, which is returned, with the images,
        what the labeling tool imports, the predicted classes as suggestions, and HOW.md.

        `request` is a format: its name, or a mapping of name and options. `classes` are the names
        of the classes, in the order of their indices, where the pass knows none, or others. Answers
        are taken back by `rayal.add_labels`, into labels.csv there. The same request once more
        changes nothing.

        Raises UsageError where another request is in this place, where the scores are of masks or
        of images in memory, and for classes without names; DataError where images are gone or have
        changed, or cannot be shown.
        """
        people = asking(self._scores, request, classes, Plugins(plugins))
        return people.write(self._selection, os.fspath(out)).url

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        cost = f"{self.spent:g}{self._selection.shortfall}"
        return (
            f"<Picks: {counted(len(self), 'unit')}, cost {cost}, first {', '.join(self.ids[:3])}>"
        )

    def _repr_html_(self) -> str:
        table: str = self.table().to_html(index=False, border=0, max_rows=SHOWN)
        return as_html("\n".join(self.lines)) + table
