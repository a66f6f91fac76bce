"""Labels of people: taken into a run that waits for them, and where they are."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rayal.api.given import path as checked
from rayal.errors import UsageError, quoted
from rayal.labeling.incoming import Given
from rayal.labeling.pictures import Handing
from rayal.labeling.reliability import Annotator as Annotator
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.workflows.labels.add import Added as Added
from rayal.workflows.labels.add import add
from rayal.workflows.labels.export import Exported as Exported
from rayal.workflows.labels.export import export
from rayal.workflows.labels.layouts import Kind
from rayal.workflows.labels.pull import Pulled as Pulled
from rayal.workflows.labels.pull import pull
from rayal.workflows.labels.push import Pushed as Pushed
from rayal.workflows.labels.push import push
from rayal.workflows.labels.selected import add_to_selected, is_selected
from rayal.workflows.labels.state import LabelStatus as LabelStatus
from rayal.workflows.labels.state import RequestStatus as RequestStatus
from rayal.workflows.labels.state import state, state_of_selection


def add_labels(
    run: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    annotator: str = "",
    check: bool = False,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Added:
    """Takes the answers in a file (or folder) of the labeling tool into the run that waits for
    them, all of them or nothing; with `check` only looks at them. The same file twice changes
    nothing. `annotator` gave the answers that name nobody.

    >>> added = rayal.add_labels("runs/mine", "to_label.csv", annotator="ann")  # doctest: +SKIP
    >>> added.new, added.waiting  # doctest: +SKIP
    (500, 0)

    Answers to an earlier request of the run, without which it went on, count as late ones and are
    bought with those of this request. `run` may be the request that `rayal.select` has written,
    OUT.request, too: all labels so far are then in its labels.csv. Raises UsageError with all that
    is wrong with any answer, and where the run waits for nobody; LockedError where another process
    writes there.
    """
    place = os.fspath(checked(run, "add_labels"))
    if not isinstance(annotator, str):
        raise UsageError(f"annotator: {quoted(annotator)} is no name; give a text")
    answers, named = Path(os.fspath(checked(file, "add_labels"))), Plugins(plugins)
    how: Any = {"annotator": annotator, "check": check, "break_lock": break_lock}
    if is_selected(place):
        return add_to_selected(place, Given.at(answers), plugins=named, **how)
    return add(place, answers, plugins=named, **how)


def label_status(
    run: str | os.PathLike[str], *, plugins: Iterable[str] = NO_PLUGINS
) -> LabelStatus:
    """What a run has asked of people so far: of each request what is in and what is missing, who
    answered, how far they agree (Krippendorff's alpha), and what to do next. `run` may be the
    request that `rayal.select` has written, OUT.request, too. Nothing is written.

    >>> status = rayal.label_status("runs/photos")  # doctest: +SKIP
    >>> status.requests[-1].missing, status.next  # doctest: +SKIP
    (0, "enough is in: the run's own command goes on")

    Raises UsageError where the run asks no people.
    """
    place, named = os.fspath(checked(run, "label_status")), Plugins(plugins)
    return state_of_selection(place, named) if is_selected(place) else state(place, named)


def export_labels(
    run: str | os.PathLike[str],
    to: Kind,
    out: str | os.PathLike[str],
    *,
    votes: bool = False,
    images: Handing = "copied",
    plugins: Iterable[str] = NO_PLUGINS,
) -> Exported:
    """Writes all labels that a run has bought so far, whoever gave them, with their images into the
    new folder `out`.

    `to`: `csv` (classes; with `votes` a row for each answer of an annotator), `coco`, `cvat`,
    `imagefolder` (of masks: images and masks side by side), or `parquet` (classes). `images`:
    `copied`, or `linked`, that is, named by their addresses where the dataset has addresses alone.
    What could not be labeled is left out, and counted.

    >>> rayal.export_labels("runs/photos", "coco", "labels").lines  # doctest: +SKIP

    Raises UsageError where `out` is not empty, or `to` cannot carry the labels.
    """
    place, folder = _of_a_run(run, "export_labels"), str(checked(out, "export_labels"))
    named = Plugins(plugins)
    return export(place, to, folder, votes=votes, handing=images, plugins=named)


def push_labels(
    run: str | os.PathLike[str],
    server: str,
    *,
    project: int | None = None,
    title: str | None = None,
    upload: bool = True,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Pushed:
    """Puts the request that a run waits for onto a Label Studio server, in order of rank; the
    access token is in the environment, in LABEL_STUDIO_API_KEY. Again, it adds what is missing.

    `project` is the number of one that is there, `title` that of one to find or to make; without
    both, one of this request's own. Without `upload` tasks show the images where the request says
    that the server finds them.

    >>> pushed = rayal.push_labels("runs/photos", "http://localhost:8080")  # doctest: +SKIP
    >>> pushed.tasks, pushed.known  # doctest: +SKIP
    (500, 0)

    Raises UsageError for what cannot work, StorageError where the server cannot be reached or
    fails, LockedError where another process writes the run.
    """
    place = _of_a_run(run, "push_labels")
    named = Plugins(plugins)
    return push(
        place,
        server,
        project=project,
        title=title,
        upload=upload,
        break_lock=break_lock,
        plugins=named,
    )


def pull_labels(
    run: str | os.PathLike[str],
    server: str,
    *,
    project: int | None = None,
    title: str | None = None,
    check: bool = False,
    break_lock: bool = False,
    plugins: Iterable[str] = NO_PLUGINS,
) -> Pulled:
    """Takes the answers on a Label Studio server into the run that waits for them, all of them or
    nothing; with `check` only looks at them. Twice, it changes nothing.

    `project` and `title` say which one, where `push_labels` did not put the request there.

    >>> pulled = rayal.pull_labels("runs/photos", "http://localhost:8080")  # doctest: +SKIP
    >>> pulled.added.new, pulled.added.waiting  # doctest: +SKIP
    (1000, 0)

    Raises UsageError with all that is wrong with any of them, StorageError where the server cannot
    be reached or fails, LockedError where another process writes the run.
    """
    place = _of_a_run(run, "pull_labels")
    named = Plugins(plugins)
    return pull(
        place,
        server,
        project=project,
        title=title,
        check=check,
        break_lock=break_lock,
        plugins=named,
    )


def _of_a_run(run: str | os.PathLike[str], what: str) -> str:
    """Its folder. Raises UsageError for the request of a selection."""
    place = os.fspath(checked(run, what))
    if is_selected(place):
        raise UsageError(
            f"{place} is the request of a selection, which no run goes on from; give its answers to"
            " `rayal labels add`, which tells all labels in its labels.csv"
        )
    return place
