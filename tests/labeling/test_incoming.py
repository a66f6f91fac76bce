"""Answers that come back: what is taken, what is refused, and that nothing is taken halfway."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from rayal.data.card import Card
from rayal.errors import UsageError
from rayal.labeling import incoming
from rayal.labeling.agreement import Agreement
from rayal.labeling.exchange.base import Answer, Asked, Format, Item, Problem
from rayal.labeling.exchange.csv import Csv
from rayal.labeling.incoming import Given
from rayal.labeling.request import ACCEPTED, Request
from rayal.labeling.votes import Vote
from rayal.storage.folder import Folder
from rayal.testing.trainings import prepared

UNITS = "a", "b", "c"


class Spoken(Format):
    """Answers that a test says, in place of a file."""

    times: ClassVar[bool] = True
    said: ClassVar[Sequence[Answer | Problem]] = ()

    def write(self, asked: Any, suggestions: Any, out: Folder) -> None: ...

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        return ()

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        yield from self.said


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    made = Request(Folder(tmp_path / "run/cycle-001/label"))
    made.ask(UNITS, Agreement(), needed=3)
    return made


def asked(units: Sequence[str] = UNITS, name: str = "now") -> Asked:
    items = tuple(Item(unit, at, f"images/{unit}.png", (8, 8)) for at, unit in enumerate(units, 1))
    return Asked(name, "run, cycle 1", card().classes, False, items)


def card() -> Card:
    return prepared(False).card


def check(said: Sequence[Answer | Problem], request: Request, **options: Any) -> incoming.Taken:
    class Now(Spoken):
        said: ClassVar[Sequence[Answer | Problem]] = ()

    Now.said = said
    what = options.pop("asked", asked())
    given = Given("answers.csv", b"data")
    return incoming.check(given, Now(), what, options.pop("card", card()), request, **options)


def test_what_is_taken(request_of: Request) -> None:
    """A skip, a name or a time would be lost on the way."""
    taken = check(
        [Answer("row 2", "a", "3", "ann", 2.0, "today"), Answer("row 3", "b", None)], request_of
    )
    source = Given("answers.csv", b"data").sha256

    assert [Vote("a", 3, "ann", 2.0, "today", source), Vote("b", None, source=source)] == (
        taken.votes
    )
    assert (0, 0) == (taken.known, taken.late)


def test_all_that_is_wrong_is_told_at_once(request_of: Request) -> None:
    """Half of a file would be taken, or its mistakes be found one after the other."""
    request_of.tell([Vote("c", 1, "ann")])
    said = [
        Answer("row 2", "a", "3"),
        Answer("row 3", "x", "3"),
        Answer("row 4", "b", "eleven"),
        Problem("row 5", "is no row"),
        Answer("row 6", "a", "4"),
        Answer("row 7", "c", "2", "ann"),
        Answer("row 8", "a", "3"),
    ]
    with pytest.raises(UsageError) as caught:
        check(said, request_of)
    lines = [line.strip() for line in str(caught.value).split("\n")]

    assert "5 problems in answers.csv, of which nothing was taken" == lines[0]
    assert "row 3: 'x' was not asked for; leave it out" == lines[1]
    assert lines[2].startswith("row 4: 'b': 'eleven' is no class; ")
    assert "row 5: is no row" == lines[3]
    assert (
        "row 6: 'a' is '4', but '3' of the same annotator is in this file too; leave one"
        in (lines[4])
    )
    assert (
        "row 7: 'c' is '2' by 'ann', but '1' of the same annotator was taken before; l"
        in (lines[5])
    )
    assert ["c"] == [*Request(Folder(request_of.folder.url.removesuffix("-asked"))).votes]


def test_few_of_many_problems_are_shown(request_of: Request) -> None:
    """A wrong file of 5,000 rows would fill the terminal."""
    with pytest.raises(UsageError, match="and 30 more"):
        check([Answer(f"row {n}", f"x{n}", "3") for n in range(50)], request_of)


def test_a_file_that_is_none_is_named(request_of: Request) -> None:
    """Nobody would know which of ten files is no table."""
    with pytest.raises(UsageError, match="answers.csv: the file has no column"):
        incoming.check(Given("answers.csv", b"x\n1\n"), Csv(), asked(), card(), request_of)


def test_the_same_file_twice(request_of: Request) -> None:
    """Votes would double, or the file be kept twice."""
    said = [Answer("row 2", "a", "3"), Answer("row 3", "b", "4")]
    given = Given("answers.csv", b"data")
    for new, known in ((2, 0), (0, 2)):
        taken = check(said, request_of)
        incoming.take(given, taken, request_of)

        assert (new, known) == (len(taken.votes), taken.known)
    (kept,) = (request_of.folder / ACCEPTED).names()
    assert b"data" == (request_of.folder / ACCEPTED).read(kept)
    assert kept == f"000000-{given.sha256[:16]}-answers.csv"
    assert 1 == len((request_of.folder / "told").names())


def test_killed_between_the_file_and_its_votes(request_of: Request) -> None:
    """The file would be there twice, or its votes never."""
    said, given = [Answer("row 2", "a", "3")], Given("answers.csv", b"data")
    (request_of.folder / ACCEPTED).write(f"000000-{given.sha256[:16]}-answers.csv", given.data)
    incoming.take(given, check(said, request_of), request_of)

    assert 1 == len((request_of.folder / ACCEPTED).names()) and ["a"] == [*request_of.told]


def test_several_annotators_have_names(tmp_path: Path) -> None:
    """Two files without names would count as one annotator, whose second answers are dropped."""
    request = Request(Folder(tmp_path / "cycle-000/label"))
    request.ask(UNITS, Agreement(votes=2), needed=3)
    said = [Answer("row 2", "a", "3")]
    with pytest.raises(UsageError, match="row 2: 'a': nobody is named, and 2 annotators are ask"):
        check(said, request)
    for name in ("ann", "bob"):
        incoming.take(Given(name, name.encode()), check(said, request, annotator=name), request)

    assert ["ann", "bob"] == [vote.annotator for vote in request.votes["a"]]
    assert ["a"] == [*request.told]


def test_time_that_is_paid_is_needed(tmp_path: Path) -> None:
    """Work without a time would be free, and the budget never end."""
    request = Request(Folder(tmp_path / "cycle-000/label"))
    request.ask(UNITS, Agreement(cost="seconds"), needed=3)
    with pytest.raises(UsageError, match="row 3: 'b' says no time, and the budget counts seconds"):
        check([Answer("row 2", "a", "3", "ann", 2.0), Answer("row 3", "b", None)], request)


def test_late_answers(tmp_path: Path) -> None:
    """An answer that came after its cycle would be lost, bought twice, or change a label."""
    before = Request(Folder(tmp_path / "run/cycle-000/label"))
    before.ask(["a", "b"], Agreement(), needed=1)
    before.tell([Vote("a", 3, "ann")])
    request = Request(Folder(tmp_path / "run/cycle-001/label"))
    request.take_over(["c"])
    request.ask(["c"], Agreement(), needed=1)
    what = replace(asked(["c"]), earlier=(asked(["a", "b"], "before"),))
    said = [
        Answer("row 2", "a", "3", "ann"),  # taken with its own request
        Answer("row 3", "a", "3", "bob"),  # says what is known
        Answer("row 4", "b", "4", "ann"),
        Answer("row 5", "c", "5", "ann"),
    ]
    taken = check(said, request, asked=what)
    incoming.take(Given("answers.csv", b"data"), taken, request)

    assert (2, 2, 1) == (len(taken.votes), taken.known, taken.late)
    assert ["b"] == request.late and request.enough
    with pytest.raises(
        UsageError, match="'a' is '4', but its label of cycle 0 is '3', and that stays;"
    ):
        check([Answer("row 3", "a", "4", "bob")], request, asked=what)


def test_masks_of_another_size(request_of: Request) -> None:
    """A mask drawn on another image would be stretched, or crash the training."""
    scenes = prepared(True)
    size = scenes.card.image.height, scenes.card.image.width
    what = replace(asked(), masks=True, items=(Item("a", 1, "images/a.png", size),))
    good, bad = np.zeros(size, np.uint8), np.zeros((2, 3), np.uint8)

    assert check([Answer("1", "a", good)], request_of, asked=what, card=scenes.card).votes
    with pytest.raises(UsageError, match=r"1: 'a': an array of shape \(2, 3\) and uint8 is no ma"):
        check([Answer("1", "a", bad)], request_of, asked=what, card=scenes.card)


def test_a_folder_is_the_zip_of_its_files(tmp_path: Path) -> None:
    """The same folder would be another file the next day, and be kept again."""
    (tmp_path / "out/cats").mkdir(parents=True)
    (tmp_path / "out/cats/1.png").write_bytes(b"x")
    first = Given.at(tmp_path / "out")
    (tmp_path / "out/cats/1.png").touch()

    assert first == Given.at(tmp_path / "out") and "out.zip" == first.name
    with pytest.raises(UsageError, match="No such file or directory; check the path"):
        Given.at(tmp_path / "none")


@pytest.fixture
def again(tmp_path: Path) -> Request:
    """The second request of a run: `a` has its label and is asked for again, `b` is still without
    one, `c` is new."""
    before = Request(Folder(tmp_path / "run/cycle-000/initial"))
    before.ask(["a", "b"], Agreement(), needed=1)
    before.tell([Vote("a", 3, "ann", 2.0, "today")])
    made = Request(Folder(tmp_path / "run/cycle-001/label"))
    made.ask(["c", "a", "b"], Agreement(), 3, {"a": before.votes["a"]})
    return made


def asked_again(request: Request) -> Asked:
    """With the rank and the image of each request's own."""
    (before,) = request.before
    earlier = asked(["a", "b"], before.name)
    return replace(asked(["c", "a", "b"], request.name), earlier=(earlier,))


def test_an_old_answer_is_no_second_opinion(again: Request) -> None:
    """One annotation would count twice, and its unit look as if two had agreed on it."""
    old, new, what = again.before[0].name, again.name, asked_again(again)
    same = Answer("1", "a", "3", "ann", 2.0, "today", old)
    agreed = Answer("1", "a", "3", "bob", 1.0, "today", old)

    assert ([], 2, 0, 0) == check([same, agreed], again, asked=what)
    assert ([], 1, 0, 0) == check([same._replace(request="")], again, asked=what)
    for said in (same._replace(request="", seconds=3.0), same._replace(request=new)):
        assert 1 == len(check([said], again, asked=what).votes)
    late = check([Answer("1", "b", "5", "ann", 2.0, "today", old)], again, asked=what)
    assert ["b"] == [vote.unit for vote in late.votes]

    again.tell([Vote("a", 4, "ann", 2.0, "tomorrow")])
    assert ([], 1, 0, 0) == check([same], again, asked=what)


def test_a_table_without_anything_but_labels(again: Request) -> None:
    """The same file would be taken for a second opinion, or another one be refused."""
    source, what = Given("answers.csv", b"data").sha256, asked_again(again)
    again.before[0].tell([Vote("a", 3, "eve", source=source), Vote("a", 3, "joe", source="other")])

    assert 1 == check([Answer("1", "a", "3", "eve")], again, asked=what).known
    assert 1 == len(check([Answer("1", "a", "3", "joe")], again, asked=what).votes)


def test_what_differs_from_a_label_that_stays(again: Request) -> None:
    """A project that cycles share could not be pulled from, once somebody changed their mind."""
    old, what = again.before[0].name, asked_again(again)
    changed = Answer("1", "a", "4", "ann", 2.0, "today", old)
    third = Answer("2", "a", "4", "bob", 2.0, "today", old)
    good = Answer("3", "c", "1", "ann", 2.0, "today", again.name)
    with pytest.raises(UsageError, match="2 problems"):
        check([changed, third, good], again, asked=what)
    left = check([changed, third, good], again, asked=what, leaving=True)

    assert (1, 0, 2) == (len(left.votes), left.known, left.left)
    with pytest.raises(UsageError, match="'eleven' is no class"):
        check([good._replace(label="eleven")], again, asked=what, leaving=True)


def test_late_second_opinions_of_labels_that_were_given(tmp_path: Path) -> None:
    """The unit would be bought a second time, and the run refuse to read what it has bought."""
    before = Request(Folder(tmp_path / "run/cycle-000/label"))
    before.ask(["a", "b"], Agreement(), 1, {"a": [Vote("a", 3)]})
    before.tell([Vote("b", 1, "ann")])
    request = Request(Folder(tmp_path / "run/cycle-001/label"))
    request.take_over(["c"])
    request.ask(["c"], Agreement(), needed=1)
    what = replace(asked(["c"], request.name), earlier=(asked(["a", "b"], before.name),))
    said = Answer("1", "a", "3", "ann", request=before.name)

    assert 1 == check([said], request, asked=what).known
    with pytest.raises(
        UsageError, match="'a' is '4', but its label of cycle 0 is '3', and that stays"
    ):
        check([said._replace(label="4")], request, asked=what)
    request.tell([Vote("a", 4, "ann"), Vote("c", 4, "ann")])  # as an older rayal took it
    assert [] == request.late
