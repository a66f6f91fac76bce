"""The contract of a format: a request written for a labeling tool, its answers read back.

A format knows the tool's files and nothing of runs: it is given items to be labeled, and gives
answers as the tool has them. Whether these fit what was asked is checked once, for all formats, in
`rayal.labeling.incoming`.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from rayal.data.masks import Mask
from rayal.labeling.suggestions import Suggestion
from rayal.parts import Component
from rayal.storage.folder import Folder

IMAGES = "images"
"""The folder, in that of a request, of the images that were copied."""


@dataclass(frozen=True)
class Item:
    """One unit to be labeled."""

    unit: str
    rank: int
    """From 1, the first to be labeled."""
    image: str
    """Its image: a path below the folder of the request, or an address."""
    size: tuple[int, int]
    """H W of that image: of polygons and masks that come back."""
    part: bool = False
    """Whether it is a region of the image, the rest of which is dimmed and does not count."""


@dataclass(frozen=True)
class Asked:
    """What somebody is asked for: all that a format may know of it."""

    name: str
    """Of the request, which other cycles and runs do not have; goes out and comes back."""
    title: str
    """For people: experiment, strategy, cycle."""
    classes: tuple[str, ...]
    masks: bool
    """Whether answers are masks; else each is the name of one class."""
    items: tuple[Item, ...]
    """In order of rank."""
    earlier: tuple["Asked", ...] = ()
    """Requests of the same run that it went on without: late answers to them may come too."""

    @cached_property
    def names(self) -> frozenset[str]:
        """Of all requests whose answers a file may hold."""
        return frozenset(each.name for each in (self, *self.earlier))

    @cached_property
    def by_unit(self) -> Mapping[str, Item]:
        """Unit -> item, of earlier requests too."""
        return {unit: [*items.values()][-1] for unit, items in self._requested.items()}

    def items_of(self, unit: str) -> Mapping[str, Item]:
        """Name of a request -> its item of this unit, that of the newest request last."""
        return self._requested.get(unit, {})

    def request_of(self, item: Item) -> str:
        """The name of the request whose image this is; empty where several have it."""
        names = self._shown[_file(item)]
        return next(iter(names)) if len(names) == 1 else ""

    @cached_property
    def by_image(self) -> Mapping[str, Sequence[Item]]:
        """File name of an image, without its folders -> its items, for tools that know nothing
        else, of earlier requests too; several where they are regions of one image."""
        found = dict[str, list[Item]]()
        for _, item in self._all():
            found.setdefault(_file(item), []).append(item)
        return found

    @cached_property
    def _requested(self) -> Mapping[str, dict[str, Item]]:
        found = dict[str, dict[str, Item]]()
        for name, item in self._all():
            found.setdefault(item.unit, {})[name] = item
        return found

    @cached_property
    def _shown(self) -> Mapping[str, set[str]]:
        """File name of an image -> names of the requests that have it."""
        found = dict[str, set[str]]()
        for name, item in self._all():
            found.setdefault(_file(item), set()).add(name)
        return found

    def _all(self) -> Iterator[tuple[str, Item]]:
        """Requests' names and items, those of this request last: what is found twice is its own."""
        for asked in (*self.earlier, self):
            yield from ((asked.name, item) for item in asked.items)


def _file(item: Item) -> str:
    return item.image.rpartition("/")[2]


class Answer(NamedTuple):
    """What one annotator says of one unit, as the tool has it."""

    where: str
    """Its place in the file, for messages: `row 12`, `task 7, annotation 31`."""
    unit: str
    label: str | Mask | None
    """The name of a class; a mask H W of the item's image, class indices and 255 for void; None
    where it was skipped."""
    annotator: str = ""
    seconds: float | None = None
    at: str = ""
    request: str = ""
    """The name of the request that it answers; empty where the file does not say."""


class Problem(NamedTuple):
    """Why a part of a file cannot be taken."""

    where: str
    reason: str
    """What is wrong and the way out."""


class Format(Component):
    """Files of one labeling tool."""

    kind: ClassVar[str] = "formats"
    labels: ClassVar[frozenset[str]] = frozenset({"classes", "masks"})
    """What kinds of labels it can carry."""
    times: ClassVar[bool] = False
    """Whether its answers say how long each took."""
    linked: ClassVar[bool] = True
    """Whether images may stay where they are; else the tool knows them by the names of their files
    alone, and needs copies under the names that rayal gives."""

    def check(self, classes: Sequence[str]) -> None:
        """Raises UsageError where its files cannot carry these classes, before anybody is asked."""

    @abstractmethod
    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        """Put what the tool imports into `out`, beside the folder of images, in order of rank, with
        what the model suggests of units where the tool can show it: masks are of the item's size,
        void where there is nothing to say."""

    @abstractmethod
    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        """How people get the request, in the folder `place`, into the tool and the answers out of
        it, step by step, in Markdown."""

    @abstractmethod
    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        """The answers in a file of the tool (of a folder: in its zip), or what is wrong with parts
        of it. Raises UsageError for a file that is none of this format, or not whole."""
