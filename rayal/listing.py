"""Folders of images: their files in a fixed order, and the classes that the folders stand for."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rayal.errors import DataError
from rayal.source import Units

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
JUNK = "__MACOSX"

logger = logging.getLogger(__name__)


def list_images(root: Path, inside: str, follow_links: bool = False) -> list[str]:
    """Paths, relative to `root`, of the images anywhere below `root/inside`; sorted.

    Left out, with a warning: hidden names such as .ipynb_checkpoints, __MACOSX, other suffixes,
    links that lead nowhere and links to folders. Raises FileNotFoundError when there is no
    `root/inside`, DataError for a link out of `root`; with `follow_links` both kinds of links are
    followed, except one that leads back to a folder above itself.
    """
    walk = _Walk(root, follow_links)
    found = sorted(walk.images(inside, ()))
    if walk.ignored:
        first = ", ".join(map(repr, walk.ignored[:3]))
        logger.warning("%s: ignored %d entries, first %s", root, len(walk.ignored), first)
    return found


def class_folder(path: str, inside: str) -> str:
    """The class of an image: the first folder below `inside` on its way."""
    name, *rest = path.removeprefix(f"{inside}/").split("/")
    if not rest:
        raise DataError(f"{path} lies in no class folder; move it into one, or away")
    return name


def common_classes(splits: Mapping[str, Sequence[str]]) -> list[str]:
    """The class folders, sorted, of splits (folder -> paths); DataError where these differ."""
    found = {split: {class_folder(path, split) for path in splits[split]} for split in splits}
    everywhere, anywhere = set.intersection(*found.values()), set.union(*found.values())
    if everywhere != anywhere:
        gaps = [f"{split} lacks {sorted(anywhere - here)}" for split, here in found.items()]
        raise DataError(
            f"the splits have different class folders: {'; '.join(gaps)}; add them, or list the"
            " classes in dataset.classes"
        )
    return sorted(everywhere)


def units_of(root: Path, inside: str, paths: Sequence[str], classes: Sequence[str]) -> Units:
    """The images at these paths, named by them; DataError for a folder that is no class."""
    index = {name: number for number, name in enumerate(classes)}
    folders = [class_folder(path, inside) for path in paths]
    if strange := sorted(set(folders) - index.keys()):
        raise DataError(
            f"{root / inside}: folders {strange} are not among the {len(index)} classes; move them"
            " away, or add them to dataset.classes"
        )
    return Units(paths, [index[name] for name in folders], [f"{root}/{path}" for path in paths])


class _Walk:
    def __init__(self, root: Path, follow_links: bool) -> None:
        self.root, self.follow_links = root, follow_links
        self.real_root = os.path.realpath(root)
        self.ignored: list[str] = []

    def images(self, folder: str, above: tuple[str, ...]) -> Iterator[str]:
        """Images below a folder; `above` are the real paths of the folders that led here."""
        above = (*above, os.path.realpath(self.root / folder)) if self.follow_links else above
        with os.scandir(self.root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{folder}/{entry.name}"
                if self._is_ignored(entry, path, above):
                    self.ignored.append(path)
                elif entry.is_dir():
                    yield from self.images(path, above)
                else:
                    yield path

    def _is_ignored(self, entry: os.DirEntry[str], path: str, above: tuple[str, ...]) -> bool:
        if entry.name.startswith(".") or entry.name == JUNK:
            return True
        if entry.is_symlink() and self._is_dead_end(entry, path, above):
            return True
        return not entry.is_dir() and os.path.splitext(entry.name)[1].lower() not in SUFFIXES

    def _is_dead_end(self, entry: os.DirEntry[str], path: str, above: tuple[str, ...]) -> bool:
        target = os.path.realpath(entry.path)
        if self.follow_links:
            return not os.path.exists(target) or target in above
        if os.path.commonpath([self.real_root, target]) != self.real_root:
            raise DataError(
                f"{self.root / path} is a link out of {self.root}; copy the file there, or set"
                " dataset.follow_links: true"
            )
        return not os.path.isfile(target)
