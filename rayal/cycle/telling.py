"""Labels that somebody tells, checked against what was asked and what is known already."""

from collections.abc import Mapping
from functools import cached_property

from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.errors import UsageError, quoted
from rayal.labeling.label_value import label_value
from rayal.labeling.request import Request
from rayal.labeling.votes import Vote

SHOWN = 20
"""Problems of one telling that a message lists."""


class Telling:
    """Makes votes of labels for one request."""

    def __init__(
        self,
        store: Store,
        request: Request,
        before: Mapping[str, LabelValue | None],
        tested: frozenset[str] = frozenset(),
    ) -> None:
        """`before`: unit -> label of all earlier requests; None where it was refused. `tested`:
        units that guards leave out as test images."""
        self.store, self.request, self.before, self.tested = store, request, before, tested

    @property
    def known(self) -> dict[str, LabelValue | None]:
        """Unit -> label of all that was told."""
        return {**self.before, **{unit: label.value for unit, label in self.request.told.items()}}

    @property
    def begun(self) -> bool:
        """Whether the first labeled set is known; before, labels of any units make it up."""
        return bool(self.before) or self.request.asked is not None

    def votes(self, labels: Mapping[str, object]) -> list[Vote]:
        """Those of these labels that are new.

        Raises UsageError with all that is wrong with any of them.
        """
        known, votes, problems = self.known, list[Vote](), list[str]()
        sizes = self._sizes([unit for unit in labels if unit in self._pool])
        for unit, label in labels.items():
            try:
                if unit not in known:
                    self._check(unit)
                card = self.store.card
                value = None if label is None else label_value(label, card, sizes.get(unit))
                if unit not in known:
                    votes.append(Vote(unit, value))
                elif known[unit] != value:
                    raise UsageError(
                        f"was told to be {self.named(known[unit])}, not {self.named(value)}, and"
                        " that stays; leave it out, or tell all labels to a learner with another"
                        " out"
                    )
            except UsageError as error:
                problems.append(f"{quoted(unit)}: {error}")
        if problems:
            more = len(problems) - SHOWN
            told = problems[:SHOWN] + [f"and {more} more"] * (more > 0)
            raise UsageError.of(told, where="tell(), which has taken none of these labels")
        return votes

    def named(self, value: LabelValue | None) -> str:
        """A label for a message."""
        if value is None:
            return "None"
        return quoted(self.store.card.classes[value]) if isinstance(value, int) else "another mask"

    def _check(self, unit: object) -> None:
        """Raises UsageError for a new unit that cannot be told."""
        asked, bad = self.request.asked, self.store.card.bad
        if unit not in self._pool:
            raise UsageError("is not in the pool; use the ids that ask() returns")
        if self.begun and unit not in (asked or ()):
            raise UsageError(
                "was not asked for; tell labels of your own choice before the first ask()"
            )
        if unit in bad:
            raise UsageError(f"cannot be decoded: {bad[str(unit)]}; leave it out")
        if unit in self.tested:
            raise UsageError(
                "is a test image too, which guards.test_images never trains on; leave it out"
            )

    @cached_property
    def _pool(self) -> frozenset[str]:
        return frozenset(self.store.pool.ids())

    def _sizes(self, units: list[str]) -> dict[str, tuple[int, int]]:
        """H W of these images, without what fills a canvas; none where labels are classes."""
        card = self.store.card
        if card.masks is None:
            return {}
        if card.decoding is None or card.decoding.canvas is None:
            return dict.fromkeys(units, (card.image.height, card.image.width))
        decoded = self.store.pool.decode(self.store.pool.take(units))
        if decoded.sizes is None:
            return dict.fromkeys(units, (card.image.height, card.image.width))
        pairs = zip(decoded.ids, decoded.sizes.tolist(), strict=True)
        return {unit: (height, width) for unit, (height, width) in pairs}
