"""`rayal labels push`: a request put onto a Label Studio server; again, it adds what is missing."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from rayal.data import uri
from rayal.errors import counted
from rayal.labeling.exchange.base import IMAGES
from rayal.labeling.exchange.label_studio import TASKS
from rayal.labeling.label_studio.export import ID, RANK
from rayal.labeling.label_studio.export import REQUEST as OF_REQUEST
from rayal.labeling.label_studio.server import Server, token
from rayal.labeling.outgoing import REQUEST
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import Folder
from rayal.workflows.labels import on_server
from rayal.workflows.labels.on_server import Project
from rayal.workflows.labels.waiting import Waiting, alone, waiting

BATCH = 250
"""Tasks that are imported at once: so many may be there twice, if this process and the server part
in the middle."""
FILES, BYTES = 50, 2**24
"""Images that are uploaded at once, at most; their bytes, or those of tasks, about."""
NOT_SHOWN = (
    "inner_id completed_at annotators annotations_results annotations_ids file_upload"
    " storage_filename created_at updated_at updated_by avg_lead_time draft_exists"
    " predictions_model_versions predictions_results data.rayal_request data.rayal_title"
    " data.rayal_reason"
).split()
HIDDEN = [f"tasks:{name}" for name in NOT_SHOWN]
"""Columns of the data manager that are left out of the view, so that the others are seen."""
Json = dict[str, Any]


class Pushed(NamedTuple):
    """What a push has done."""

    project: int
    """Its number on the server."""
    address: str
    """Of the project's page."""
    tasks: int
    """Tasks that were imported."""
    known: int
    """Units whose task was there already."""
    images: int
    """Images that were uploaded."""
    doubled: int
    """Tasks that are there more than once; answers to all of them count for the same unit."""

    @property
    def lines(self) -> list[str]:
        """For people."""
        there = f", {self.known} were there already" if self.known else ""
        lines = [f"{self.address}: {counted(self.tasks, 'task')} imported{there}"]
        if self.doubled:
            lines.append(
                f"{counted(self.doubled, 'task is', 'tasks are')} there more than once, from a push"
                " that was cut off; delete those without annotations, or label either"
            )
        return lines


def push(
    run: str,
    server: str,
    *,
    project: int | None = None,
    title: str | None = None,
    upload: bool = True,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
) -> Pushed:
    """Imports the tasks of the request that a run waits for, the first to be labeled first; those
    that are there are left alone.

    Raises UsageError for what cannot work, StorageError where the server cannot be reached.
    """
    secret = token()
    run = Folder(run).url
    with alone(run, break_lock=break_lock):
        what = waiting(run, plugins)
        on_server.check_format(what, run)
        there = Server(server, secret)
        place = on_server.find(there, what, project, title)
        if place is None:
            place = on_server.make(there, what, title)
        on_server.remember(there, what, place)
        return _Push(there, what, place).all(upload)


class _Push:
    def __init__(self, server: Server, what: Waiting, place: Project) -> None:
        self.server, self.what, self.place = server, what, place
        self.folder = what.request.folder / REQUEST
        self.images = 0

    def all(self, upload: bool) -> Pushed:
        known = self._known()
        waits = {*self.what.request.waiting}
        tasks = [each for each in self._tasks() if each["data"][ID] in waits]
        missing = [each for each in tasks if each["data"][ID] not in known]
        for batch in _batches(missing):
            shown = self._uploaded(batch) if upload else batch
            self.server.add_tasks(self.place.number, shown)
        self._order()
        after = self._known() if missing else known
        doubled = sum(count > 1 for count in after.values())
        was = len(tasks) - len(missing)
        return Pushed(*self.place, len(missing), was, self.images, doubled)

    def _tasks(self) -> list[Json]:
        tasks: list[Json] = json.loads(self.folder.read(TASKS))
        return tasks

    def _known(self) -> Counter[str]:
        """Unit -> how many tasks of this request it has on the server."""
        data = (each["data"] for each in self.server.tasks(self.place.number))
        return Counter(
            each.get(ID) for each in data if each.get(OF_REQUEST) == self.what.asked.name
        )

    def _uploaded(self, tasks: Sequence[Json]) -> list[Json]:
        """The tasks, showing images that are on the server: it needs no other way to them."""
        images = {each["data"][ID]: self._image(each["data"][ID]) for each in tasks}
        files = {unit: self._file(image) for unit, image in images.items() if image}
        there = self._there()
        missing = {name: data for name, data in files.values() if name not in there}
        for part in _parts(missing):
            self.server.upload(self.place.number, part)
        self.images += len(missing)
        there = self._there() if missing else there
        return [_showing(each, there.get(files.get(each["data"][ID], ("",))[0])) for each in tasks]

    def _image(self, unit: str) -> str | None:
        """The path of a unit's image; None of one that every browser can open at its address."""
        image = self.what.asked.by_unit[unit].image
        if image.startswith(f"{IMAGES}/"):
            return f"{self.folder.url}/{image}"
        return None if image.startswith(("http://", "https://")) else image

    def _file(self, image: str) -> tuple[str, bytes]:
        """A file's name on the server, which tells its content, and the content."""
        data = uri.read_uri(image)
        suffix = PurePosixPath(image).suffix.lower()
        return f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}", data

    def _there(self) -> dict[str, str]:
        """Name of an uploaded file -> its path; the server puts 8 signs and a dash in front."""
        paths = self.server.files(self.place.number)
        return {path.rpartition("/")[2].partition("-")[2]: path for path in paths}

    def _order(self) -> None:
        """A view of the tasks in order of rank, which *Label All Tasks* follows."""
        title = f"rayal {self.what.asked.title.rpartition(', ')[2]}"  # the tab is narrow
        views = self.server.get("/api/dm/views/", project=self.place.number)
        same = {
            "conjunction": "and",
            "items": [
                {
                    "filter": f"filter:tasks:data.{OF_REQUEST}",
                    "operator": "equal",
                    "type": "String",
                    "value": self.what.asked.name,
                }
            ],
        }
        if any(each.get("data", {}).get("filters") == same for each in views):
            return
        shown = {"type": "list", "target": "tasks", "ordering": [f"tasks:data.{RANK}"]}
        hidden = {"explore": HIDDEN, "labeling": HIDDEN}
        view = {"title": title, "filters": same, "hiddenColumns": hidden, **shown}
        self.server.post("/api/dm/views/", {"project": self.place.number, "data": view})


def _showing(task: Json, path: str | None) -> Json:
    return task if path is None else {**task, "data": {**task["data"], "image": path}}


def _batches(tasks: Sequence[Json]) -> Iterator[list[Json]]:
    """In their order, as many as may be imported at once."""
    batch, size = list[Json](), 0
    for task in tasks:
        size += len(json.dumps(task))
        batch.append(task)
        if len(batch) == BATCH or size > BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _parts(files: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """As many files as may be uploaded at once."""
    part, size = dict[str, bytes](), 0
    for name, data in files.items():
        part[name], size = data, size + len(data)
        if len(part) == FILES or size > BYTES:
            yield part
            part, size = {}, 0
    if part:
        yield part
