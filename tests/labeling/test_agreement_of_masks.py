"""The masks of several annotators become one by the rule, pixel by pixel."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rayal.data.masks import IGNORE, decoded, encode
from rayal.labeling.agreement import Agreement
from rayal.labeling.votes import Vote

V = IGNORE
stacks = st.integers(1, 5).flatmap(
    lambda votes: arrays(np.uint8, (votes, 3, 4), elements=st.sampled_from([0, 1, 2, V]))
)


def label(*masks: np.ndarray | None, **rule: object) -> np.ndarray | None:
    votes = [
        Vote("a", None if mask is None else encode(np.array(mask, np.uint8)), str(number))
        for number, mask in enumerate(masks)
    ]
    made = Agreement(votes=len(masks), disputed="refuse", **rule).label(votes)  # type: ignore[arg-type]
    assert made is not None
    return None if made.value is None else decoded(made.value)  # type: ignore[arg-type]


@pytest.mark.parametrize("consensus", ["majority", "unanimous"])
@settings(deadline=None, max_examples=40)
@given(stack=stacks)
def test_every_pixel_has_the_class_that_its_votes_make(consensus, stack):
    """A label would have a class that few of its annotators have drawn; against a loop."""
    found = label(*stack, consensus=consensus)

    assert found is not None
    for place in np.ndindex(*stack.shape[1:]):
        (first, most), *rest = Counter(stack[:, *place].tolist()).most_common()
        decided = most == len(stack) if consensus == "unanimous" else not rest or rest[0][1] < most
        assert (first if decided else V) == found[place]


def test_void_is_a_vote_too():
    """What two of three left undrawn would get the class of the third."""
    assert [[1, V, V]] == label([[1, 1, 1]], [[1, V, 2]], [[V, V, 0]]).tolist()  # type: ignore[union-attr]


def test_a_skip_counts_against_masks():
    """An image that most could not label would be learned from the one who tried."""
    mask = np.ones((2, 2))

    assert label(mask, None, None) is None
    np.testing.assert_array_equal(mask, label(mask, None, mask))  # type: ignore[arg-type]
    assert label(mask, None) is None and label(mask, mask, None, consensus="unanimous") is None
    votes = [Vote("a", encode(mask.astype(np.uint8)), "x"), Vote("a", None, "y")]
    assert Agreement(votes=2).label(votes) is None and Agreement(votes=2).is_disputed(votes)


def test_masks_are_merged_once(monkeypatch: pytest.MonkeyPatch):
    """Whoever adds a file to a request of 500 photographs would wait for minutes, each time."""
    from rayal.labeling import agreement

    masks = [np.full((5, 6), number) for number in (0, 0, 1)]
    first = label(*masks)
    monkeypatch.setattr(agreement, "decoded", None)

    np.testing.assert_array_equal(first, label(*masks))  # type: ignore[arg-type]
