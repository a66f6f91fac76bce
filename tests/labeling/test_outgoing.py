"""A request as a folder: written once and whole, again for the units that are disputed."""

import csv
from pathlib import Path

import pytest

from rayal.errors import StorageError
from rayal.labeling.agreement import Agreement
from rayal.labeling.exchange.csv import Csv
from rayal.labeling.outgoing import ask_again, disputed_folder, read_request, title, write_request
from rayal.labeling.request import Request
from rayal.labeling.suggestions import Suggestion, write_suggestions
from rayal.labeling.votes import Vote
from rayal.storage.folder import Folder
from rayal.testing.trainings import prepared

STORE = prepared(False)
UNITS = STORE.pool.ids()[:3][::-1]


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    made = Request(Folder(tmp_path / "digits/margin-seed0/cycle-002/label"))
    made.ask(UNITS, Agreement(votes=2), needed=3)
    said = Suggestion(0.5, "chosen by margin", 7, 0.9)
    write_suggestions(made.folder, dict.fromkeys(UNITS, said))
    return made


def write(request: Request):
    said = {UNITS[0]: Suggestion(0.5, "chosen by margin", 7, 0.9)}
    return write_request(
        *(Csv(), request.folder, STORE, UNITS, said), name=request.name, title=title(request)
    )


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "to_label.csv", newline="") as file:
        return [*csv.DictReader(file)]


def test_what_is_written_is_what_is_read(request_of: Request) -> None:
    """Answers would be compared with another request than went out."""
    asked = write(request_of)
    folder = Path(request_of.folder.url) / "request"
    rows = table(folder)

    assert asked == read_request(request_of.folder)
    assert "digits/margin-seed0, cycle 2" == asked.title and request_of.name == asked.name
    assert [*UNITS] == [row["rayal_id"] for row in rows]
    assert ["7", "", ""] == [row["suggested"] for row in rows]
    assert all((folder / row["image"]).is_file() for row in rows)
    assert "# digits/margin-seed0, cycle 2: 3 images to label" in (folder / "HOW.md").read_text()


def test_it_is_written_once_and_whole(request_of: Request) -> None:
    """What annotators have open would change under them; or half a request stay after a crash."""
    write(request_of)
    how = Path(request_of.folder.url) / "request/HOW.md"
    how.write_text("mine")
    write(request_of)
    kept = how.read_text()
    (how.parent / "request.json").unlink()
    none = read_request(request_of.folder)
    write(request_of)

    assert "mine" == kept and none is None and "mine" != how.read_text()


def test_a_damaged_one_is_written_again(request_of: Request) -> None:
    """A request that lacks its units would end in a traceback."""
    write(request_of)
    place = request_of.folder / "request"
    place.write_sealed("request.json", {"units": 3})
    with pytest.raises(StorageError, match=r"is damaged; delete .*/request and give the run's"):
        read_request(request_of.folder)
    place.delete()

    assert [*UNITS] == [item.unit for item in write(request_of).items]


def test_what_is_disputed_is_asked_again(request_of: Request) -> None:
    """Annotators who differ would leave a unit that nobody sees again; or all be shown again."""
    asked, form = write(request_of), Csv()
    for name, labels in (("ann", (1, 2, 3)), ("bob", (1, 4, 5))):
        request_of.tell([Vote(u, value, name) for u, value in zip(UNITS, labels, strict=True)])
    url = Path(ask_again(form, asked, request_of) or "")
    rows = table(url)
    first = (url / rows[0]["image"]).read_bytes()
    request_of.tell([Vote(UNITS[1], 4, "cid")])
    fewer = table(Path(ask_again(form, asked, request_of) or ""))
    request_of.tell([Vote(UNITS[2], 5, "cid")])

    assert [*UNITS[1:]] == [row["rayal_id"] for row in rows] and ["2", "3"] == [
        row["rayal_rank"] for row in rows
    ]
    assert {f"r-{request_of.name}"} == {row["rayal_request"] for row in rows}
    assert (Path(request_of.folder.url) / "request" / rows[0]["image"]).read_bytes() == first
    assert [UNITS[2]] == [row["rayal_id"] for row in fewer]
    assert ask_again(form, asked, request_of) is None


def test_who_labels_what_is_disputed_keeps_it(request_of: Request) -> None:
    """An afternoon of answers in the folder would be deleted when somebody else's come in."""
    asked, form = write(request_of), Csv()
    request_of.tell([Vote(unit, at, str(at)) for unit in UNITS[:2] for at in (1, 2)])
    folder = Path(ask_again(form, asked, request_of) or "")
    (folder / "to_label.csv").write_text("filled in")
    same = ask_again(form, asked, request_of)
    request_of.tell([Vote(UNITS[2], at, str(at)) for at in (1, 2)])
    more = Path(ask_again(form, asked, request_of) or "")

    assert same == str(folder) and "filled in" == (folder / "to_label.csv").read_text()
    assert 3 == len(table(more)) and more.parent == folder.parent
    assert disputed_folder(request_of).url == str(more)
    request_of.tell([Vote(UNITS[2], 1, "cid")])
    assert str(folder) == ask_again(form, asked, request_of)
    assert "filled in" == (folder / "to_label.csv").read_text()


def test_an_image_that_is_gone(request_of: Request) -> None:
    """Who has tidied up the images of a request would get a traceback, with the votes half in."""
    asked, form = write(request_of), Csv()
    request_of.tell([Vote(unit, at, str(at)) for unit in UNITS for at in (1, 2)])
    place = request_of.folder / "request"
    (place / "images").delete()
    with pytest.raises(
        StorageError, match="or delete .*/request and give the run's own command ag"
    ):
        ask_again(form, asked, request_of)
    place.delete()

    assert ask_again(form, write(request_of), request_of)
