"""From the votes of several annotators to the one label that trains: the rules there are.

A vote is a class, a mask, or a skip; skips count as votes. Whether there is a mask is decided as
between two classes; then, of the masks alone, each pixel. Void (255) is a vote as any class, for
nobody drew there: two of three annotators make a pixel void, and so does a tie, or whatever else
the rule does not decide. Two masks are never disputed.

H rows, W columns, V votes.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from rayal.data.masks import IGNORE, LabelValue, decoded, encode
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import Vote
from rayal.settings import Settings

DISPUTED = object()
"""In place of a label: the votes are there, and do not decide."""
KEPT = 2**14
"""Labels made of masks that a process remembers: they are asked for again and again."""


class Agreement(Settings):
    """How the votes of a unit become its label, and what they cost."""

    votes: PositiveInt = 1
    """Answers of different annotators that a unit needs."""
    consensus: Literal["majority", "unanimous"] = "majority"
    """Which label the votes make: the one that more of them name than any other, or the one that
    all name."""
    disputed: Literal["ask", "refuse", "first"] = "ask"
    """What becomes of a unit whose votes make none: `ask` waits for another vote, `refuse` takes it
    as one that cannot be labeled, `first` takes, of the answers that most have named, the one that
    was named first. Unanimous votes cannot be asked for more."""
    cost: Literal["units", "seconds"] = "units"
    """What a unit costs: 1, or the seconds that all its annotators took."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Field and reason, of what cannot work."""
        if self.consensus == "unanimous" and self.disputed == "ask" and self.votes > 1:
            yield (
                "disputed",
                "ask, but votes that differ never become unanimous by more of them; set it to"
                " refuse, or consensus to majority",
            )

    def label(self, votes: Sequence[Vote], earlier: Sequence[Vote] = ()) -> Label | None:
        """The label that a unit's votes make, those of `earlier` requests counted, which were paid
        for then; None while more of them are needed."""
        if len(votes) < self.votes:
            return None
        values = [vote.value for vote in (*earlier, *votes)]
        value = self._value(values)
        if value is DISPUTED:
            if self.disputed == "ask":
                return None
            value = Counter(values).most_common(1)[0][0] if self.disputed == "first" else None
        return Label(value, self.price(votes))  # type: ignore[arg-type]

    def is_disputed(self, votes: Sequence[Vote], earlier: Sequence[Vote] = ()) -> bool:
        """Whether all votes that were asked for are there, and make no label."""
        enough = len(votes) >= self.votes
        return enough and self._value([vote.value for vote in (*earlier, *votes)]) is DISPUTED

    def price(self, votes: Sequence[Vote]) -> float:
        """What a unit with these votes costs."""
        if self.cost == "units":
            return 1.0
        return math.fsum(vote.seconds or 0.0 for vote in votes)

    def _value(self, values: Sequence[LabelValue | None]) -> object:
        """The label of all these values, None for a skip, or DISPUTED."""
        masks = tuple(value for value in values if isinstance(value, bytes))
        if not masks:
            return self._decided(values)
        drawn = self._decided([isinstance(value, bytes) for value in values])
        if drawn is not True:
            return None if drawn is False else DISPUTED
        return _merged(masks, self.consensus == "unanimous")

    def _decided(self, values: Sequence[object]) -> object:
        (first, most), *rest = Counter(values).most_common()
        if self.consensus == "unanimous":
            return DISPUTED if rest else first
        return DISPUTED if rest and rest[0][1] == most else first


@lru_cache(KEPT)
def _merged(masks: tuple[bytes, ...], unanimous: bool) -> bytes:
    """Of each pixel the class that the rule makes of its votes, else void."""
    first, *others = masks
    if all(other == first for other in others):
        return first
    stack = np.stack([decoded(mask) for mask in masks])  # V H W
    counts = np.zeros(stack.shape, np.uint8)
    for vote in stack:
        counts += vote == stack
    most = counts.max(axis=0)
    needed = (
        len(masks) if unanimous else (counts == most).sum(axis=0)
    )  # more, where two classes tie
    best = np.take_along_axis(stack, counts.argmax(axis=0)[None], axis=0)[0]
    return encode(np.where(most == needed, best, IGNORE).astype(np.uint8))
