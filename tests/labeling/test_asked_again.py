"""People are asked again for units that have a label: what was said before counts, and is paid."""

import shutil

import pytest

from rayal.errors import LabelsPending, StorageError
from rayal.labeling.agreement import Agreement
from rayal.labeling.oracles.people import People
from rayal.labeling.request import Request
from rayal.labeling.votes import VOTES, Vote, dump_votes, parse_votes
from rayal.storage.folder import Folder
from rayal.testing.trainings import prepared

A, B = "digit-0000", "digit-0001"


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        (Agreement(votes=2), (5, 1.0)),
        (Agreement(disputed="refuse"), (None, 1.0)),
        (Agreement(disputed="first"), (3, 1.0)),
        (Agreement(), None),
        (Agreement(votes=2, cost="seconds"), (5, 9.0)),
    ],
)
def test_earlier_votes_count_for_the_label_and_cost_nothing(rule, label):
    """A second opinion would overrule the first, or both be paid twice."""
    earlier = [Vote(A, 3, "x", seconds=100.0)]
    votes = [Vote(A, 5, "y", 4.0), Vote(A, 5, "z", 5.0)][: rule.votes]

    assert label == rule.label(votes, earlier)
    assert rule.is_disputed(votes, earlier) == (rule.votes == 1)
    assert rule.label([], earlier) is None


def test_people_are_asked_again(tmp_path):
    """The label would be there before anybody was asked, or never."""
    out, oracle, store = Folder(tmp_path / "cycle-001" / "label"), People(), prepared(False)
    earlier = {A: [Vote(A, 3, "x")]}
    with pytest.raises(LabelsPending, match="waiting for 2 labels, 0 in"):
        oracle.answer_again(store, [A, B], earlier, out)
    Request(out).tell([Vote(A, 5, "y"), Vote(B, 1, "y")])
    with pytest.raises(LabelsPending, match="waiting for 1 label, 1 in, 1 disputed"):
        oracle.answer_again(store, [A, B], earlier, out)
    Request(out).tell([Vote(A, 5, "z")])
    answers = oracle.answer_again(store, [A, B], {}, out)  # by what was written at first

    assert {A: (5, 1.0), B: (1, 1.0)} == answers
    (file,) = oracle.evidence(out)
    assert VOTES == file
    assert [(A, "y"), (A, "z"), (B, "y")] == [
        (v.unit, v.annotator) for v in parse_votes(out.read(VOTES))
    ]
    assert {A: 1.0} == oracle.costs_again(store, earlier)


@pytest.mark.parametrize("oracle", [People(), People(cost="seconds", seconds_per_unit=30)])
def test_a_second_opinion_is_thought_to_cost_what_a_first_one_does(oracle):
    """Of labels that came free 300 would be asked for again, where ten fit into 300 seconds."""
    store = prepared(False)
    expected = dict(zip((A, B), oracle.costs(store, [A, B]), strict=True))

    assert expected == oracle.costs_again(store, {A: [Vote(A, 3)], B: [Vote(B, 3)]})


def test_earlier_votes_that_are_damaged(tmp_path):
    """A label would be made of what is left of them."""
    out, oracle, store = Folder(tmp_path / "cycle-001" / "label"), People(), prepared(False)
    earlier = {A: [Vote(A, 3, "x")]}
    Request(out).ask([A], oracle.rule, earlier=earlier)
    (file,) = (tmp_path / "cycle-001" / "label-asked" / "earlier").iterdir()
    file.write_bytes(dump_votes([Vote(A, 5, "x")]))
    with pytest.raises(StorageError, match="delete the folder .*label-asked and ask again"):
        assert Request(out).earlier

    shutil.rmtree(file.parent.parent)
    with pytest.raises(LabelsPending):
        oracle.answer_again(store, [A], earlier, out)
    assert earlier == Request(out).earlier
