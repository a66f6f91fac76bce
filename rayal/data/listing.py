"""Folders of images: their files in a fixed order, and the classes that the folders stand for."""

import logging
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rayal.data.source import Units
from rayal.errors import DataError

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
JUNK = "__MACOSX"
SHOWN = 3  # names of what was ignored in the warning

logger = logging.getLogger(__name__)


def list_images(root: Path, inside: str, follow_links: bool = False) -> list[str]:
    """Paths, relative to `root`, of the images anywhere below `root/inside`; sorted as text.

    Left out, with a warning: hidden names such as .ipynb_checkpoints, __MACOSX, other suffixes,
    pipes and devices, links that lead nowhere and links to folders. Raises FileNotFoundError when
    there is no `root/inside`, DataError for a link out of `root`; with `follow_links` both kinds of
    links are followed, except one that leads back to a folder above itself.
    """
    return list(walk_images(root, inside, follow_links))


def walk_images(
    root: Path, inside: str, follow_links: bool = False, suffixes: Collection[str] = SUFFIXES
) -> Iterator[str]:
    """As `list_images`, one after the other: holds the names of one folder at a time.

    `suffixes` are those of what is looked for, in place of images."""
    walk = _Walk(root, follow_links, suffixes)
    yield from walk.images(inside, ())
    if walk.ignored:
        first = ", ".join(map(repr, walk.first_ignored))
        logger.warning("%s: ignored %d entries, first %s", root, walk.ignored, first)


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
        gaps = [f"{split} lacks {_some(anywhere - here)}" for split, here in classes.items()]
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
            f"{root / inside}: folders {_some(strange)} are not among the {len(index)} classes;"
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


class _Walk:
    def __init__(self, root: Path, follow_links: bool, suffixes: Collection[str]) -> None:
        self.root, self.follow_links, self.suffixes = root, follow_links, suffixes
        self.real_root = os.path.realpath(root)
        self.ignored = 0
        self.first_ignored: list[str] = []

    def images(self, folder: str, above: tuple[str, ...]) -> Iterator[str]:
        """Images below a folder; `above` are the real paths of the folders that led here."""
        above = (*above, os.path.realpath(self.root / folder)) if self.follow_links else above
        for name in self._kept(folder, above):
            if name.endswith("/"):
                yield from self.images(f"{folder}/{name[:-1]}", above)
            else:
                yield f"{folder}/{name}"

    def _kept(self, folder: str, above: tuple[str, ...]) -> list[str]:
        """Images and folders, these with a slash: so sorted, all paths are sorted as text."""
        kept, ignored = list[str](), list[str]()
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name == JUNK:
                    ignored.append(name)
                elif entry.is_symlink() and self._is_dead_end(entry, f"{folder}/{name}", above):
                    ignored.append(name)
                elif entry.is_dir():
                    kept.append(f"{name}/")
                else:
                    (kept if self._is_wanted(entry) else ignored).append(name)
        self.ignored += len(ignored)
        room = SHOWN - len(self.first_ignored)
        self.first_ignored += [f"{folder}/{name}" for name in sorted(ignored)[:room]]
        return sorted(kept)

    def _is_dead_end(self, entry: os.DirEntry[str], path: str, above: tuple[str, ...]) -> bool:
        target = os.path.realpath(entry.path)
        if self.follow_links:
            return not os.path.exists(target) or target in above
        if os.path.commonpath([self.real_root, target]) != self.real_root:
            raise DataError(
                f"{self.root / path} is a link out of {self.root}; copy the file there, or set"
                " dataset.follow_links: true (of `rayal score`: --set follow_links=true)"
            )
        return not os.path.isfile(target)

    def _is_wanted(self, entry: os.DirEntry[str]) -> bool:
        return os.path.splitext(entry.name)[1].lower() in self.suffixes and entry.is_file()
