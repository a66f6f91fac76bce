"""Votes of annotators come back from their file as they were told."""

import pytest

from rayal.errors import DataError
from rayal.labeling.answers import dump_answers
from rayal.labeling.oracles.base import Label
from rayal.labeling.votes import Vote, by_unit, dump_votes, parse_votes

VOTES = [
    Vote("a", 3, "ann", 2.5, "2026-11-30T10:00:00Z", "0f"),
    Vote("b", None, "bob"),
    Vote("a", 4, "žofie 中", 0.0),
]


@pytest.mark.parametrize("votes", [VOTES, [], [Vote("a", b"mask"), Vote("b", None)]])
def test_they_come_back(votes: list[Vote]) -> None:
    """A time, a name or a skip would be lost with the process that was told."""
    assert votes == parse_votes(dump_votes(votes))


def test_answers_of_an_older_rayal() -> None:
    """Labels told to an `ActiveLearner` before there were annotators would be damaged."""
    data = dump_answers({"a": Label(1, 1.0), "b": Label(None, 1.0)})

    assert [Vote("a", 1), Vote("b", None)] == parse_votes(data)


def test_labels_of_two_kinds_are_refused() -> None:
    """A mask among classes would make a file that nobody can read."""
    with pytest.raises(DataError, match="not what the others are"):
        dump_votes([Vote("a", 1), Vote("b", b"mask")])


def test_votes_of_a_unit_stay_in_order() -> None:
    """Who answered first could not be told."""
    assert {"a": [VOTES[0], VOTES[2]], "b": [VOTES[1]]} == by_unit(VOTES)
