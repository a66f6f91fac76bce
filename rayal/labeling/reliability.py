"""How far annotators agree, with one another and with the labels that their votes make.

Krippendorff's alpha for nominal data, which allows missing answers: a skip is one, and so is void
in a mask, whose pixels count as units of their own.

Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C. With n_uc
annotators that give unit u the value c, m_u = sum_c n_uc, units of m_u < 2 left out, n = sum_u m_u:
observed disagreement  D_o = 1/n sum_u sum_c n_uc (m_u - n_uc) / (m_u - 1)
expected disagreement  D_e = 1/(n (n - 1)) sum_c n_c (n - n_c),  n_c = sum_u n_uc
alpha = 1 - D_o / D_e: 1 where all agree, 0 where they agree as by chance, below 0 where less.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rayal.data.masks import IGNORE
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import Vote

Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Values, C, and of some units how often each was given, U C."""


class Annotator(NamedTuple):
    """What one annotator has done."""

    name: str
    """Empty for answers that named nobody."""
    answers: int
    """Skips included."""
    skipped: int
    compared: int
    """Of the answers, those for a unit with a label and with answers of others."""
    agreeing: int
    """Of those compared, the ones that are the label."""
    seconds: float | None
    """Median per answer; None where no time is known."""


def alpha(votes: Mapping[str, Sequence[Vote]]) -> float | None:
    """Krippendorff's alpha of what was said of these units; None where no unit has two answers, or
    all answers are one value, of which chance would say as much."""
    observed, by_value, n = 0.0, Counter[int](), 0
    for values, counts in _counts(votes.values()):
        m = counts.sum(axis=1)
        counts = counts[m >= 2]
        m = m[m >= 2].astype(np.float64)
        observed += float((counts * (m[:, None] - counts) / (m[:, None] - 1)).sum())
        for value, times in zip(values.tolist(), counts.sum(axis=0).tolist(), strict=True):
            by_value[value] += times
        n += int(m.sum())
    expected = sum(times * (n - times) for times in by_value.values())
    return 1 - (n - 1) * observed / expected if expected else None


def annotators(votes: Mapping[str, Sequence[Vote]], labels: Mapping[str, Label]) -> list[Annotator]:
    """Who gave these votes, by name, and how often as the labels have it."""
    by_name = defaultdict[str, list[Vote]](list)
    for each in votes.values():
        for vote in each:
            by_name[vote.annotator].append(vote)
    return [_annotator(name, by_name[name], votes, labels) for name in sorted(by_name)]


def _annotator(
    name: str, own: list[Vote], votes: Mapping[str, Sequence[Vote]], labels: Mapping[str, Label]
) -> Annotator:
    compared = [vote for vote in own if vote.unit in labels and len(votes[vote.unit]) > 1]
    times = [vote.seconds for vote in own if vote.seconds is not None]
    return Annotator(
        name=name,
        answers=len(own),
        skipped=sum(vote.value is None for vote in own),
        compared=len(compared),
        agreeing=sum(vote.value == labels[vote.unit].value for vote in compared),
        seconds=median(times) if times else None,
    )


def _counts(units: Iterable[Sequence[Vote]]) -> Iterator[Counts]:
    """Of each unit, or of the pixels of each mask, what was said how often."""
    for votes in units:
        values = [vote.value for vote in votes if vote.value is not None]
        if len(values) < 2:
            continue
        if not isinstance(values[0], bytes):
            said = Counter(values)
            yield np.array([*said], np.int64), np.array([[*said.values()]], np.int64)
            continue
        stack = np.stack([np.array(Image.open(io.BytesIO(v))).ravel() for v in values])  # type: ignore[arg-type]
        classes = np.setdiff1d(stack, [IGNORE])
        counts = [(stack == number).sum(axis=0) for number in classes]  # C of U each
        if counts:
            yield classes.astype(np.int64), np.stack(counts, axis=1)
