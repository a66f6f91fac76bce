"""Label Studio: tasks to import with their configuration, and its JSON export to read.

    tasks.json    the units in order of rank, with what the model says as predictions
    config.xml    the labeling configuration of the project

Seen on Label Studio 1.23.2. `rayal labels push` and `pull` do the same over its API.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from rayal.labeling.exchange.base import IMAGES, Answer, Asked, Format, Problem
from rayal.labeling.label_studio.config import BRUSH, POLYGON, config_xml
from rayal.labeling.label_studio.export import RANK, answers, read_tasks
from rayal.labeling.label_studio.tasks import LOCAL, address_of, task_of
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder

TASKS, CONFIG = "tasks.json", "config.xml"
DRAWN = {"both": (BRUSH, POLYGON), BRUSH: (BRUSH,), POLYGON: (POLYGON,)}


class LabelStudio(Format):
    """Tasks and a configuration for Label Studio, and its JSON export."""

    times: ClassVar[bool] = True

    document_root: str | None = None
    """Folder above the images, from which the server serves local files (its
    LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT), as the server's machine calls it; null: the folder of
    the request, and of linked files `/`. `rayal labels push` does without."""
    masks: Literal["both", "brush", "polygon"] = "both"
    """What masks are drawn with. The model's mask is shown as brush strokes, or with `polygon` as
    the outlines of its regions, whose holes are filled."""

    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        tasks = [
            task_of(
                asked,
                item,
                address_of(item, out.url, self.document_root),
                suggestions.get(item.unit),
                DRAWN[self.masks],
            )
            for item in asked.items
        ]
        out.write(CONFIG, config_xml(asked, DRAWN[self.masks]).encode())
        text = ",\n".join(json.dumps(task, ensure_ascii=False) for task in tasks)
        out.write(TASKS, f"[\n{text}\n]\n".encode())

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        root = self.document_root or place
        return (
            "The short way, if the server has an API you can reach: `rayal labels push RUN --server"
            " URL` uploads the images, imports the tasks and makes a view in order of rank; `rayal"
            " labels pull RUN --server URL` brings the answers back. The steps below are the way"
            " without it.",
            *self._serving(asked, root, place),
            f"Make a project, and put `{place}/{CONFIG}` into Settings > Labeling Interface, Code.",
            f"Import `{place}/{TASKS}`, once: the server doubles tasks that are imported again.",
            f"In the list of tasks order by `{RANK}` and use *Label All Tasks*: the first are worth"
            " most. Sampling by uncertainty does not follow the scores of the predictions.",
            "Label, or *Skip* what cannot be labeled"
            + ("; pixels on which nothing is drawn are void." if asked.masks else "."),
            "Export as JSON and give the file back with `rayal labels add`. JSON-MIN and CSV leave"
            " out skips, COCO loses the ids of the tasks and brush masks: they are refused.",
        )

    def _serving(self, asked: Asked, root: str, place: str) -> Sequence[str]:
        """How the server gets at the images."""
        if not any(item.image.startswith(f"{IMAGES}/") for item in asked.items):
            return (
                "The images stay at their own addresses, which the browsers of the annotators must"
                f" be able to open; those of files begin with `{LOCAL}` and need the two settings"
                " LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED and"
                " LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, and a storage that covers them.",
            )
        return (
            "Start the server with `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true` and"
            f" `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}`. Is the folder elsewhere on the"
            " server's machine, set `oracle.format.document_root` before the request is written.",
            "In the project's Settings > Cloud Storage add a source storage of the type *Local"
            f" files* with the path `{place}/{IMAGES}`, which has to be below the document root and"
            " not the root itself; save it without syncing. Until a storage covers them, all images"
            " are 404.",
        )

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        return answers(read_tasks(data), asked)
