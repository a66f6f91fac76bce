"""The project of a Label Studio server that belongs to a request."""

from typing import NamedTuple

from rayal.errors import UsageError, quoted
from rayal.labeling.exchange.base import Asked
from rayal.labeling.exchange.label_studio import CONFIG, LabelStudio
from rayal.labeling.label_studio.config import lacking
from rayal.labeling.label_studio.server import Server, address
from rayal.labeling.outgoing import REQUEST
from rayal.workflows.labels.waiting import Waiting

PUSHED = "pushed.json"
"""In the folder of what was asked: server -> number of the project."""
LONGEST = 50
"""Characters of a project's title, at most; at least SHORTEST."""
SHORTEST = 3


class Project(NamedTuple):
    """A project whose configuration fits the request."""

    number: int
    address: str
    """Of its page."""


def check_format(what: Waiting, run: str) -> None:
    """Raises UsageError for a request of another tool."""
    if not isinstance(what.oracle.format, LabelStudio):
        raise UsageError(
            f"{run}: its requests are written for {what.oracle.format.part_name()}; set"
            " oracle.format: label_studio, or use `rayal labels add`"
        )


def title_of(asked: Asked) -> str:
    """A title that no other request has: its own, cut in the middle, and a part of its name."""
    end = f" {asked.name[:6]}"
    room = LONGEST - len(end)
    text = " ".join(asked.title.split())
    if len(text) > room:
        text = f"{text[: room // 2 - 1]}...{text[-(room - room // 2 - 2) :]}"
    return text + end


def find(server: Server, what: Waiting, project: int | None, title: str | None) -> Project | None:
    """The project that is named, else the one that was pushed to before, else the one with this
    title; None where there is none of this title.

    Raises UsageError for a title of several projects, and for one that cannot take the answers.
    """
    number = project or (None if title else _pushed(what).get(server.url))
    if number is not None:
        found = server.project(number)
    else:
        name = _checked(title) if title else title_of(what.asked)
        titled = server.projects(name)
        if len(titled) > 1:
            numbers = ", ".join(str(each["id"]) for each in titled)
            raise UsageError(
                f"{server.url} has {len(titled)} projects with the title {quoted(name)}; give one"
                f" of them as --project: {numbers}"
            )
        if not titled:
            return None
        found = titled[0]
    if reason := lacking(str(found.get("label_config", "")), what.asked):
        place = f"{what.request.folder.url}/{REQUEST}/{CONFIG}"
        raise UsageError(
            f"project {found['id']}, {quoted(found.get('title'))}, cannot take these answers:"
            f" {reason}; put {place} into its Settings > Labeling Interface, or give another"
            " --title"
        )
    return _project(server, int(found["id"]))


def make(server: Server, what: Waiting, title: str | None) -> Project:
    """A new project for the request, which shows the tasks in order of their rank."""
    config = (what.request.folder / REQUEST).read(CONFIG).decode()
    made = server.post(
        "/api/projects/",
        {
            "title": _checked(title) if title else title_of(what.asked),
            "description": f"rayal: {what.asked.title}",
            "label_config": config,
            "maximum_annotations": what.request.rule.votes,
            "sampling": "Sequential sampling",
            "show_collab_predictions": True,
        },
    )
    return _project(server, int(made["id"]))


def remember(server: Server, what: Waiting, project: Project) -> None:
    """That this is the request's project, so that nobody has to say it again."""
    there = _pushed(what)
    if there.get(server.url) != project.number:
        what.request.folder.write_json(PUSHED, {**there, server.url: project.number})


def _pushed(what: Waiting) -> dict[str, int]:
    there: dict[str, int] = what.request.folder.read_json(PUSHED, default={})
    return there


def _checked(title: str) -> str:
    if not SHORTEST <= len(title) <= LONGEST:
        raise UsageError(
            f"--title {quoted(title)} has {len(title)} characters; Label Studio takes {SHORTEST} to"
            f" {LONGEST}"
        )
    return title


def _project(server: Server, number: int) -> Project:
    return Project(number, f"{address(server.url)}/projects/{number}")
