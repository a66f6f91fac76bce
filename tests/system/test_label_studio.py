"""A real Label Studio server: requests go there in order, people answer, the run goes on.

Wants the command `label-studio` in RAYAL_LABEL_STUDIO, or `install` there. What is in docs/ and
beside the tests of the format, pictures and small exports, is made by it too: with RAYAL_MADE set
to a folder it puts them there.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

import rayal
from rayal.data.masks import IGNORE
from rayal.errors import LabelsPending
from rayal.labeling.label_studio.brush_rle import encode_brush
from rayal.labeling.label_studio.server import TOKEN
from rayal.labeling.outgoing import read_request
from rayal.labeling.request import Request as Asking
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from tests.support import browser, label_studio, scenes
from tests.support.label_studio import Person, Server
from tests.support.whole_runs import ONE_THREAD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
READY = (
    r"/^\s*Submit\s*$/m.test(document.body.innerText) && [...document.images].some("
    "image => /^blob:|.data.upload/.test(image.src) && image.naturalWidth > 0)"
)
"""Of the page of a task: it can be answered, and its image is there."""
PUSH = """
import sys
from rayal.workflows.labels import push
push.BATCH = 1
push.push(sys.argv[1], sys.argv[2], title="killed")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with label_studio.running(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture(scope="module")
def people(server: Server) -> tuple[Person, Person, Person]:
    ana, ben, cleo = (server.annotator(name) for name in ("ana", "ben", "cleo"))
    return ana, ben, cleo


@pytest.fixture(autouse=True)
def secret(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, server.lead.token)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Where pictures and exports go."""
    folder = Path(os.environ.get("RAYAL_MADE") or tmp_path / "made")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digits(**fields: Any) -> rayal.Experiment:
    return rayal.Experiment(
        **{
            "name": "digits",
            "dataset": {"name": "digits", "limit_pool": 120, "limit_test": 60},
            "model": "small_cnn",
            "scheme": {"epochs": 20, "batch_size": 16, "lr": 0.02},
            "strategy": "entropy",
            "budget": {"initial": 12, "per_cycle": 6, "total": 24},
            "oracle": {"name": "people", "format": "label_studio", "votes": 2},
            "compute": ONE_THREAD,
            "tracking": "none",
            **fields,
        }
    )


def truth(x: rayal.Experiment) -> Callable[[str], str]:
    """What the dataset itself says of a unit."""
    store = x.dataset.open()
    labels = store.labels("pool")
    return lambda unit: store.card.classes[labels[unit]]


def asking(out: Path) -> Asking:
    found = Record(Folder(out)).request()
    assert found is not None
    return found[2]


def waits(x: rayal.Experiment, out: Path) -> Asking:
    """The request that the run ends with."""
    with pytest.raises(LabelsPending):
        rayal.run(x, out)
    return asking(out)


def again(request: Asking) -> Asking:
    """A request, as its files are by now."""
    return Asking(Folder(request.folder.url.removesuffix("-asked")))


def fetched(person: Person, path: str) -> int:
    """The status of a page."""
    try:
        headers = {"Authorization": f"Token {person.token}"}
        with urlopen(Request(person.url + path, headers=headers), timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def exported(server: Server, project: int, file: Path) -> None:
    """Keeps a project's export."""
    tasks = server.lead.call("GET", f"/api/projects/{project}/export?exportType=JSON")
    file.write_text(json.dumps(tasks, indent=1) + "\n")


def test_two_annotators_and_a_run(
    server: Server, people: tuple[Person, Person, Person], tmp_path: Path, made: Path
) -> None:
    """Answers would be lost, doubled or changed on the way through the real server."""
    x, out = digits(), tmp_path / "digits"
    ana, ben, cleo = people
    request, said = waits(x, out), truth(x)
    asked = list(request.asked or ())
    pushed = rayal.push_labels(out, server.url)
    twice = rayal.push_labels(out, server.url)

    assert (12, 0, 12, 0) == (pushed.tasks, pushed.known, pushed.images, pushed.doubled)
    assert (0, 12, 0, 0) == (twice.tasks, twice.known, twice.images, twice.doubled)
    assert pushed.project == twice.project
    tasks = ana.tasks(pushed.project)
    assert asked == [*tasks]
    assert {200} == {fetched(ben, task["data"]["image"]) for task in tasks.values()}

    numbers = {unit: task["id"] for unit, task in tasks.items()}
    skipped, disputed, other, last = *asked[:3], asked[-1]
    for unit in asked[:-1]:
        for person, seconds in ((ana, 2.5), (ben, 1.5)):
            if unit == skipped:
                person.skip(numbers[unit], seconds)
            elif unit == disputed and person is ben:
                person.choose(numbers[unit], said(other), seconds)
            else:
                person.choose(numbers[unit], said(unit), seconds)
    ana.draft(numbers[last], said(last))
    pulled = rayal.pull_labels(out, server.url)
    told = asking(out)

    assert (22, 0) == (pulled.added.new, pulled.added.known)
    differ = said(disputed) != said(other)
    assert ([disputed] if differ else []) == told.disputed
    assert last in told.waiting  # a draft is no answer
    assert {str(ana.number), str(ben.number)} == {vote.annotator for vote in told.votes[asked[3]]}
    assert {2.5, 1.5} == {vote.seconds for vote in told.votes[asked[3]]}
    assert [None, None] == [vote.value for vote in told.votes[skipped]]
    exported(server, pushed.project, made / "classes.json")

    same = rayal.pull_labels(out, server.url)
    assert (0, 22) == (same.added.new, same.added.known) and "nothing new" in same.lines[0]

    cleo.choose(numbers[disputed], said(disputed))
    for person in (ana, ben):
        person.choose(numbers[last], said(last))
    assert not rayal.pull_labels(out, server.url).added.waiting
    # The skipped one costs, and is replaced or not as the budget says: the run goes on either way.
    request = waits(x, out)
    labels = {unit: label.value for unit, label in again(told).told.items()}
    assert labels[skipped] is None
    for unit in set(asked) - {skipped}:
        assert said(unit) == x.dataset.open().card.classes[labels[unit]]
    shown = rayal.push_labels(out, server.url, title="Digits, first cycle")
    view = server.lead.call("GET", f"/api/dm/views/?project={shown.project}")[0]["id"]
    first = [*ana.tasks(shown.project).values()][0]
    assert first["data"]["rayal_id"] == (request.asked or ())[0]
    picture(server, f"/projects/{shown.project}/data?tab={view}", made / "in_order.png")
    page = f"/projects/{shown.project}/data?tab={view}&task={first['id']}"
    picture(server, page, made / "choice.png", READY)
    after(ana, server, shown.project, view, request)


def after(person: Person, server: Server, project: int, view: int, request: Asking) -> None:
    """Whoever labels one after the other would not begin with the first, or see no suggestion."""
    body = {"ordering": ["tasks:data.rayal_rank"]}
    path = f"/api/dm/actions?id=next_task&tabID={view}&project={project}"
    first = person.call("POST", path, body)

    assert (request.asked or ())[0] == first["data"]["rayal_id"]
    (prediction,) = first["predictions"]
    assert "choices" == prediction["result"][0]["type"] and 0 < prediction["score"] <= 1


def picture(server: Server, path: str, png: Path, ready: str = "") -> None:
    """Of a page of the server, if there is a browser."""
    if not browser.there():
        return
    shown = ready or "document.body.innerText.includes('rayal_rank')"
    browser.shoot(server.url + path, server.lead.cookies, png, ready=shown, folder=png.parent)
    shutil.rmtree(png.parent / "chromium", ignore_errors=True)


def test_a_push_that_was_killed(server: Server, tmp_path: Path) -> None:
    """Tasks would be there twice, and people label them twice."""
    out = tmp_path / "killed"
    request = waits(digits(), out)
    line = [sys.executable, "-c", PUSH, str(out), server.url]
    process = subprocess.Popen(line, cwd=Path(__file__).parents[2])
    try:
        while process.poll() is None and _count(server, "killed") < 3:
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(3)  # what the server has begun it ends
    there = _count(server, "killed")
    pushed = rayal.push_labels(out, server.url, break_lock=True)

    assert 3 <= there < 12
    assert (12 - there, there, 0) == (pushed.tasks, pushed.known, pushed.doubled)
    assert list(request.asked or ()) == [*server.lead.tasks(pushed.project)]


def _count(server: Server, title: str) -> int:
    found = server.lead.call("GET", f"/api/projects/?title={title}")["results"]
    return found[0]["task_number"] or 0 if found else 0


def test_a_personal_access_token(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New servers hand out no other tokens."""
    out = tmp_path / "token"
    waits(digits(), out)
    token = server.lead.call("POST", "/api/token/", {})["token"]
    monkeypatch.setenv(TOKEN, token)
    rayal.push_labels(out, server.url)

    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(token.encode() in data for data in written)
    monkeypatch.setenv(TOKEN, token[:-3] + "abc")
    with pytest.raises(rayal.UsageError, match="does not accept the token in LABEL_STUDIO_API_KEY"):
        rayal.push_labels(out, server.url)


def test_the_shared_folder(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who imports tasks.json by hand would see no image: the steps of HOW.md were wrong."""
    root = server.folder
    form = {"name": "label_studio", "document_root": str(root)}
    oracle = {"name": "people", "format": form}
    request = waits(digits(oracle=oracle), root / "shared run")
    place = Path(request.folder.url) / "request"
    config = (place / "config.xml").read_text()
    lead = server.lead
    fields = {"title": "by hand", "label_config": config}
    project = lead.call("POST", "/api/projects/", fields)["id"]
    tasks = json.loads((place / "tasks.json").read_text())
    lead.call("POST", f"/api/projects/{project}/import", tasks)
    image = tasks[0]["data"]["image"]

    assert "/data/local-files/?d=shared%20run/" in image
    assert 404 == fetched(lead, image)
    storage = {"project": project, "path": str(place / "images"), "use_blob_urls": False}
    lead.call("POST", "/api/storages/localfiles", storage)
    assert 200 == fetched(lead, image)


def test_masks(
    server: Server,
    people: tuple[Person, Person, Person],
    tmp_path: Path,
    made: Path,
    cache: Path,
    undrawn: None,
) -> None:
    """Masks would come back shifted, with holes filled, or of other classes."""
    root = scenes.write(tmp_path / "scenes", pool=8, test=2)
    x = rayal.Experiment(
        name="dense",
        dataset={"name": "camvid", "root": str(root)},
        task="segmentation",
        model={"name": "small_segmenter", "width": 4},
        scheme={"name": "supervised", "epochs": 30, "batch_size": 4, "lr": 0.05},
        strategy="entropy",
        budget={"initial": 3, "per_cycle": 2, "total": 5},
        oracle={"name": "people", "format": "label_studio"},
        compute=ONE_THREAD,
        tracking="none",
    )
    out = tmp_path / "dense"
    request = waits(x, out)
    asked = read_request(request.folder)
    assert asked is not None
    pushed = rayal.push_labels(out, server.url)
    ana = people[0]
    tasks = ana.tasks(pushed.project)
    rng = np.random.default_rng(0)
    expected = {}
    for item in asked.items:
        drawn, result = sketch(item.size, asked.classes, rng)
        expected[item.unit] = drawn
        ana.answer(tasks[item.unit]["id"], result)
    rayal.pull_labels(out, server.url)
    exported(server, pushed.project, made / "masks.json")

    for unit, (vote,) in again(request).votes.items():
        assert isinstance(vote.value, bytes)
        assert (expected[unit] == np.array(Image.open(io.BytesIO(vote.value)))).all()
    request = waits(x, out)
    shown = rayal.push_labels(out, server.url, title="Scenes, first cycle")
    first = next(iter(ana.tasks(shown.project).values()))
    full = ana.call("GET", f"/api/tasks/{first['id']}")
    assert {"brushlabels"} == {each["type"] for each in full["predictions"][0]["result"]}
    view = server.lead.call("GET", f"/api/dm/views/?project={shown.project}")[0]["id"]
    page = f"/projects/{shown.project}/data?tab={view}&task={first['id']}"
    picture(server, page, made / "masks.png", READY)


def sketch(
    size: tuple[int, int], classes: tuple[str, ...], rng: np.random.Generator
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A mask of strokes and a polygon over them, and how Label Studio has it."""
    height, width = size
    mask = np.full(size, IGNORE, np.uint8)
    ragged = rng.random(size) < 0.6
    mask[ragged] = 0
    left, top, right, bottom = width // 4, height // 4, 3 * width // 4, 3 * height // 4
    mask[top:bottom, left:right] = 1
    stroke = np.zeros(size, bool)
    stroke[height // 2 - 1 : height // 2 + 1] = True
    mask[stroke] = 2
    box = [[left, top], [right, top], [right, bottom], [left, bottom]]
    points = [[100 * x / width, 100 * y / height] for x, y in box]
    common = {"original_width": width, "original_height": height, "image_rotation": 0}
    return mask, [
        region("brush", {"format": "rle", "rle": encode_brush(ragged)}, classes[0]) | common,
        region("polygon", {"points": points, "closed": True}, classes[1]) | common,
        region("brush", {"format": "rle", "rle": encode_brush(stroke)}, classes[2]) | common,
    ]


def region(name: str, value: dict[str, Any], label: str) -> dict[str, Any]:
    kind = f"{name}labels"
    value = {**value, kind: [label]}
    return {"from_name": name, "to_name": "image", "type": kind, "value": value}
