"""A selection handed to people: a request beside it, in a folder that needs no run.

OUT.request/images/         the images
OUT.request/...             what the labeling tool imports, and HOW.md
OUT.request/source.json     the format, the classes, and where the scores are
OUT.request/asked.json      the units; told/ and accepted/ as in a run's request
OUT.request/request.json    written last: its existence means that the request is whole
OUT.request/labels.csv      the labels, once answers were added: also a table for `labeled`
OUT.request/left.csv        the units without one, and why
"""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from rayal.errors import OUT, UsageError, counted, quoted, some
from rayal.experiment import config
from rayal.labeling.exchange.base import Asked, Format
from rayal.labeling.outgoing import by_rank, read_asked, write_asked
from rayal.labeling.pictures import write_pictures
from rayal.labeling.request import Request
from rayal.labeling.suggestions import Suggestion
from rayal.parts import Part
from rayal.plugins import NO_PLUGINS, Plugins
from rayal.settings import Settings
from rayal.storage.folder import Folder
from rayal.workflows.select.finished_pass import FinishedPass
from rayal.workflows.select.pass_pool import PassPool, pool_of
from rayal.workflows.select.selection import Selection

SOURCE, LABELS, LEFT, SUFFIX = "source.json", "labels.csv", "left.csv", ".request"
AGAIN = "give the command that selected them again, which writes it anew"


class Asking(Settings):
    """How people are asked for a selection."""

    request: Annotated[Format, Part("formats")]
    """The labeling tool that the request is written for."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the classes, in the order of their indices; null: as the pass says."""


def asking(url: str, request: Any, classes: Any, plugins: Plugins = NO_PLUGINS) -> "ToLabel":
    """From what somebody gives: the name of a format, or a mapping, and names of classes or None.

    Raises as `ToLabel.of`, and UsageError for what is no format.
    """
    given = {"request": request, "classes": None if classes is None else [*classes]}
    asked = config.from_keywords(given, [], Asking, plugins)
    return ToLabel.of(url, asked.request, asked.classes, plugins)


@dataclass(frozen=True)
class ToLabel:
    """What is needed to ask people for units of a pass."""

    done: FinishedPass
    form: Format
    pool: PassPool
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        url: str,
        form: Format,
        classes: Sequence[str] | None = None,
        plugins: Plugins = NO_PLUGINS,
    ) -> "ToLabel":
        """Raises UsageError or DataError for what nobody could be asked for: see `pool_of`; a
        format that carries no classes, and classes without names. `classes` are names in place of
        those that the pass knows."""
        if "classes" not in form.labels:
            raise UsageError(f"request: {form.part_name()} carries no classes; use csv")
        done = FinishedPass(url)
        pool = pool_of(done, plugins)
        named = _named(done, pool, classes)
        form.check(named)
        return cls(done, form, pool, named)

    def check(self, selection: Selection, out: str) -> None:
        """Raises UsageError where another request is in the place of this one: somebody may be
        labeling it."""
        folder = folder_of(out)
        there = Request.at(folder).asked
        name = read_asked(folder, AGAIN)
        other = there is not None and there != tuple(selection.ids)
        if other or (name is not None and name.name != self._name(selection)):
            raise UsageError(
                f"{folder.url} asks for other units, or in another way, and somebody may be"
                f" labeling them; use another {OUT}, or delete it"
            )

    def write(self, selection: Selection, out: str) -> Folder:
        """The request beside the selection `out`, unless it is there whole; its folder.

        Raises as `check`, and DataError for an image that cannot be shown.
        """
        self.check(selection, out)
        folder = folder_of(out)
        if read_asked(folder, AGAIN) is not None:
            return folder
        units, name = selection.ids, self._name(selection)
        asked = Asked(
            name=name,
            title=f"selection {out.rpartition('/')[2]}",
            classes=self.classes,
            masks=False,
            items=by_rank(write_pictures(self.pool.images, units, "copied", folder, name)),
        )
        folder.write_sealed(
            SOURCE,
            {"scores": self.done.folder.url, "format": self.form.model_dump(mode="json")},
        )
        Request.at(folder).ask(units)
        place = shlex.quote(folder.url)
        last = (
            "No run waits for these answers, and none goes on: where a step says RUN, give this"
            f" folder. `rayal labels add {place} FILE` takes the answers, and all labels are then"
            f" in `{folder.url}/{LABELS}`."
        )
        write_asked(self.form, asked, self._suggested(selection), folder, [last])
        return folder

    def _name(self, selection: Selection) -> str:
        """Of this request: another pass, list, tool or classes have another."""
        files = [file.sha256 for file in self.done.result.shards]
        words = [*files, self.form.model_dump_json(), *self.classes, *selection.ids]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    def _suggested(self, selection: Selection) -> dict[str, Suggestion]:
        known = {name: number for number, name in enumerate(self.done.classes)}
        return {
            unit: Suggestion(
                score=None if selection.scores is None else selection.scores[row],
                reason=selection.reasons[row],
                predicted=_number(selection.predicted[row], known) if selection.predicted else None,
                confidence=None,
            )
            for row, unit in enumerate(selection.ids)
        }


def folder_of(out: str) -> Folder:
    """The request of a selection `out`, a path or a URL without its suffix."""
    return Folder(f"{out}{SUFFIX}")


def _number(predicted: str, known: dict[str, int]) -> int:
    """The class that a selection calls so."""
    return known[predicted] if predicted in known else int(predicted)


def _named(done: FinishedPass, pool: PassPool, given: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the classes, in the order of their indices."""
    names = pool.names if given is None else tuple(given)
    if not names:
        raise UsageError(
            f"{done.folder.url} does not say what its {pool.classes} classes are called; give their"
            " names with --classes (in Python: classes=)"
        )
    if any(not name.strip() for name in names):
        raise UsageError("classes: one of the names is empty; give each a name")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"classes: {quoted(twice[0])} is there twice; give each once")
    if len(names) != pool.classes:
        raise UsageError(
            f"{counted(len(names), 'class', 'classes')} given, the model has {pool.classes}; give"
            f" as many, in its order{': ' + some(pool.names) if pool.names else ''}"
        )
    return names
