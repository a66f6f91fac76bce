"""`rayal labels pull`: the answers on a Label Studio server, all of them or nothing."""

import json
import shlex
from typing import NamedTuple

from rayal.errors import UsageError, counted
from rayal.labeling.incoming import Given
from rayal.labeling.label_studio.export import request_of
from rayal.labeling.label_studio.server import Server, token
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.storage.folder import Folder
from rayal.workflows.labels import on_server
from rayal.workflows.labels.add import Added, taken
from rayal.workflows.labels.waiting import alone, waiting


class Pulled(NamedTuple):
    """What a pull has brought."""

    address: str
    """Of the project's page."""
    added: Added
    others: int
    """Answered tasks of the project that are of no request of this run, and were left alone."""

    @property
    def lines(self) -> list[str]:
        """For people."""
        first, *more = self.added.lines
        if not self.added.new:
            before = counted(self.added.known, "answer was", "answers were")
            first = f"nothing new, {before} taken before" if self.added.known else "nothing new"
        lines = [f"{self.address}: {first.removeprefix(f'{self.added.file}: ')}", *more]
        if self.others:
            lines.append(f"{counted(self.others, 'task')} of other requests left alone")
        return lines


def pull(
    run: str,
    server: str,
    *,
    project: int | None = None,
    title: str | None = None,
    check: bool = False,
    break_lock: bool = False,
    plugins: Plugins = NO_PLUGINS,
) -> Pulled:
    """Takes the answers to the request that a run waits for; with `check` only looks at them.

    Answers that differ from what was taken before are counted and left alone: nobody can take them
    out of a project that cycles share. Raises UsageError with all else that is wrong, and then
    takes nothing; StorageError where the server cannot be reached.
    """
    secret = token()
    run = Folder(run).url
    with alone(run, break_lock=break_lock):
        what = waiting(run, plugins)
        on_server.check_format(what, run)
        there = Server(server, secret)
        place = on_server.find(there, what, project, title)
        if place is None:
            raise UsageError(
                f"{there.url} has no project for this request; give `rayal labels push"
                f" {shlex.quote(run)}"
                f" --server {there.url}` first, or name it with --project"
            )
        tasks = there.export(place.number)
        mine = [task for task in tasks if request_of(task) in what.asked.names]
        data = json.dumps(mine, indent=1).encode()
        given = Given(f"project-{place.number}.json", data)
        added = taken(what, given, check=check, leaving=True)
        return Pulled(place.address, added, len(tasks) - len(mine))
