"""Folders of images: their files in a fixed order, and the classes that the folders stand for."""

import logging
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rayal.data.source import Units
from rayal.data.walk import FOLDER, LINKED, Disk, LeftOut, is_hidden, walk
from rayal.errors import DataError, counted

logger = logging.getLogger(__name__)


def list_images(root: Path, inside: str, follow_links: bool = False) -> list[str]:
    """Paths, relative to `root`, of the images anywhere below `root/inside`; sorted as text.

    An image is what has an image's suffix or, without one, an image's content. What is left out is
    told in a warning, by reason: see walk.py, also for links. Raises FileNotFoundError when there
    is no `root/inside`, DataError for a link out of `root`.
    """
    return list(walk_images(root, inside, follow_links))


def walk_images(
    root: Path, inside: str, follow_links: bool = False, suffixes: Collection[str] | None = None
) -> Iterator[str]:
    """As `list_images`, one after the other: holds the names of one folder at a time.

    `suffixes` are those of what is looked for, in place of images."""
    left = LeftOut()
    for found in walk(Disk(root, follow_links), inside, left, suffixes):
        yield found.path
    if left.counts:
        logger.warning("%s: %s", root, left)


def class_images(root: Path, inside: str, follow_links: bool = False) -> Iterator[str]:
    """As `walk_images`, of class folders.

    Raises DataError where there is no image, or a class folder without one.
    """
    left, filled = LeftOut(), set[str]()
    disk = Disk(root, follow_links)
    for found in walk(disk, inside, left):
        filled.add(found.path[len(inside) + 1 :].partition("/")[0])
        yield found.path
    shown = [entry for entry in disk.entries(inside) if not is_hidden(entry.name)]
    folders = {entry.name for entry in shown if entry.kind() in (FOLDER, LINKED)}
    told = f"; {left}" if left.counts else ""
    if not filled:
        raise DataError(f"{root / inside} holds no images{told}; correct dataset.root or the name")
    if empty := folders - filled:
        raise DataError(
            f"{root / inside}: class folders {_some(empty)} hold no images; add some, or take the"
            f" folders away{told}"
        )
    if told:
        logger.warning("%s: %s", root, left)


def class_folder(path: str, inside: str) -> str:
    """The class of an image: the first folder below `inside` on its way."""
    start = len(inside) + 1
    end = path.find("/", start)
    if end < 0:
        raise DataError(f"{path} lies in no class folder; move it into one, or away")
    return sys.intern(path[start:end])  # a million images have a thousand classes


def common_classes(found: Mapping[str, Iterable[str]]) -> list[str]:
    """The classes, sorted, that each split has images of; DataError where the splits differ."""
    classes = {split: set(names) for split, names in found.items()}
    everywhere, anywhere = set.intersection(*classes.values()), set.union(*classes.values())
    if everywhere != anywhere:
        gaps = [
            f"{split} lacks {_some(anywhere - here)}"
            for split, here in classes.items()
            if here != anywhere
        ]
        raise DataError(
            f"the splits have different class folders: {'; '.join(gaps)}; add them, or list the"
            " classes in dataset.classes"
        )
    return sorted(everywhere)


def units_of(
    root: Path, inside: str, paths: Sequence[str], found: Sequence[str], classes: Sequence[str]
) -> Units:
    """The images at these paths, named by them, `found` their classes; DataError for a class that
    is not among `classes`."""
    index = {name: number for number, name in enumerate(classes)}
    if strange := set(found) - index.keys():
        raise DataError(
            f"{root / inside}: folders {_some(strange)} are not among the"
            f" {counted(len(index), 'class', 'classes')};"
            " move them away, or add them to dataset.classes"
        )
    return Units(paths, [index[name] for name in found], Addresses(root, paths))


class Addresses:
    """The whole path of each image, made when it is asked for."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root, self.paths = root, paths

    def __iter__(self) -> Iterator[str]:
        return (f"{self.root}/{path}" for path in self.paths)


def _some(names: Collection[str]) -> str:
    """The first few names."""
    first = sorted(names)[:5]
    return f"{first}" + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")
