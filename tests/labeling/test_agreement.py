"""From votes to labels, by hand and against naive loops."""

import io
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal.data.masks import IGNORE, encode
from rayal.labeling.agreement import Agreement
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import Vote


def votes(*values: Any, seconds: float | None = 2.0) -> list[Vote]:
    return [Vote("a", value, str(place), seconds) for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("rule", "values", "label"),
    [
        ({}, [1], Label(1, 1.0)),
        ({}, [None], Label(None, 1.0)),
        ({}, [], None),
        ({"votes": 2}, [1], None),
        ({"votes": 2}, [1, 1], Label(1, 1.0)),
        ({"votes": 2}, [1, 2], None),
        ({"votes": 2}, [1, 2, 2], Label(2, 1.0)),
        ({"votes": 2}, [1, None], None),
        ({"votes": 3}, [1, None, None], Label(None, 1.0)),
        ({"votes": 3}, [1, 1, 2], Label(1, 1.0)),
        ({"votes": 2, "disputed": "refuse"}, [1, 2], Label(None, 1.0)),
        ({"votes": 3, "consensus": "unanimous", "disputed": "refuse"}, [1, 1, 2], Label(None, 1.0)),
        ({"votes": 3, "consensus": "unanimous", "disputed": "refuse"}, [1, 1, 1], Label(1, 1.0)),
        ({"cost": "seconds"}, [1], Label(1, 2.0)),
        ({"cost": "seconds", "votes": 2}, [1, 1], Label(1, 4.0)),
    ],
)
def test_by_hand(rule: dict[str, Any], values: list[Any], label: Label | None) -> None:
    """A tie would be decided by who answered first, or a second annotator's time be free."""
    assert label == Agreement(**rule).label(votes(*values))


def test_majority_is_the_mode_or_nothing() -> None:
    """Three of five would lose against another order of the same votes."""
    for values in itertools.product([0, 1, 2, None], repeat=4):
        counts = Counter(values).most_common()
        tied = len(counts) > 1 and counts[0][1] == counts[1][1]
        label = Agreement(votes=4).label(votes(*values))

        assert (label is None) == tied
        assert label is None or counts[0][0] == label.value
        assert tied == Agreement(votes=4).is_disputed(votes(*values))


@pytest.mark.parametrize("consensus", ["majority", "unanimous"])
def test_masks_pixel_by_pixel(consensus: Any) -> None:
    """A pixel that two of three call road would be void, or void win over a class by alphabet."""
    rng = np.random.default_rng(0)
    masks = rng.choice([0, 1, 2, IGNORE], (3, 5, 7)).astype(np.uint8)
    expected = np.full((5, 7), IGNORE, np.uint8)
    for row, column in np.ndindex(5, 7):
        first, *rest = Counter(masks[:, row, column].tolist()).most_common()
        alone = not rest if consensus == "unanimous" else not rest or rest[0][1] < first[1]
        if alone:
            expected[row, column] = first[0]
    rule = Agreement(votes=3, consensus=consensus, disputed="refuse")
    label = rule.label(votes(*map(encode, masks)))

    assert label is not None and isinstance(label.value, bytes)
    assert np.array_equal(expected, np.array(Image.open(io.BytesIO(label.value))))


def test_a_mask_that_most_skip_is_a_skip() -> None:
    """One annotator's drawing would train although two say that there is nothing to draw on."""
    mask = encode(np.zeros((2, 2), np.uint8))

    assert Label(None, 1.0) == Agreement(votes=3).label(votes(None, mask, None))
    assert Agreement(votes=2).is_disputed(votes(None, mask))
    one = Agreement(votes=3).label(votes(None, mask, mask))
    assert one is not None and isinstance(one.value, bytes)


def test_rules_that_contradict_themselves() -> None:
    """Votes that differ would be asked for until the end of time."""
    (problem,) = Agreement(votes=2, consensus="unanimous").problems()

    assert "disputed" == problem[0] and not [*Agreement(consensus="unanimous").problems()]
