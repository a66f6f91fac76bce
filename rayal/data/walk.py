"""One walk over folders of images, on a disk or in a bucket, and one report of what it leaves out.

A disk and a bucket differ in how a folder is listed and the start of a file is read, in nothing
else. The keys of a bucket are no paths: `a//b` is another than `a/b`.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rayal.data.content import HEAD, OTHER, READ, named
from rayal.errors import DataError, counted
from rayal.storage.failures import storage_errors

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
"""Of what is an image without a look at it."""
UNREAD = frozenset(
    " .arw .avif .cr2 .cr3 .dng .eps .exr .heic .heif .ico .j2k .jp2 .jxl .nef .orf .pef .psd .raf"
    " .rw2 .srw .svg .tga".split()
)
"""Of images in formats that rayal does not read; some of them begin as a TIFF does."""
JUNK = frozenset(["__MACOSX", "@eaDir"])
"""Folders that systems leave among those of people."""
THREADS = 16  # that wait for the starts of files in a bucket

FILE, FOLDER = "file", "folder"
FORMAT = "images in a format that is not read"
UNREADABLE = "files that cannot be read"
LOST = "links that lead nowhere"
LINKED = "links to folders, which follow_links: true follows"
LOOP = "links that lead back"
ODD = "pipes and devices"
HIDDEN = "hidden"
NO_IMAGE = "other files"
REASONS = (FORMAT, UNREADABLE, LOST, LINKED, LOOP, ODD, HIDDEN, NO_IMAGE)
"""What is most likely to be missed comes first."""
ONE = {
    FORMAT: "image in a format that is not read",
    UNREADABLE: "file that cannot be read",
    LOST: "link that leads nowhere",
    LINKED: "link to a folder, which follow_links: true follows",
    LOOP: "link that leads back",
    ODD: "pipe or device",
    NO_IMAGE: "other file",
}
"""What each is called where there is one of it."""

State = tuple[int, str]
"""Size (bytes) and what else changes with the content, as far as its storage tells."""


class Found(NamedTuple):
    """A file that is wanted."""

    path: str
    state: Callable[[], State]


class LeftOut:
    """What a walk leaves out, by reason."""

    def __init__(self, note: Callable[[str, str], object] | None = None) -> None:
        """`note` is told path and reason of each."""
        self.counts = Counter[str]()
        self.first = dict[str, str]()
        self._note = note

    def add(self, path: str, reason: str) -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, path)
        if self._note is not None:
            self._note(path, reason)

    def __str__(self) -> str:
        """Counts and the first of each, images first; empty where nothing was left out."""
        if not self.counts:
            return ""
        each = (
            f"{counted(self.counts[reason], ONE.get(reason, reason), reason)}"
            f" (first {self.first[reason]!r})"
            for reason in REASONS
            if reason in self.counts
        )
        return f"left out {counted(self.counts.total(), 'entry', 'entries')}: {'; '.join(each)}"


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    kind: Callable[[], str]
    """FILE, FOLDER or why it is left out."""
    state: Callable[[], State]


class Tree(Protocol):
    """Folders below a root."""

    threads: int
    """That may wait for the starts of files at a time."""

    def entries(self, folder: str) -> Iterator[Entry]:
        """What is in a folder, "" for the root, in any order."""

    def head(self, path: str) -> bytes | None:
        """The start of a file; None where it cannot be read."""


def walk(
    tree: Tree,
    inside: str,
    left: LeftOut,
    suffixes: Collection[str] | None = None,
    also: str = "",
) -> Iterator[Found]:
    """The files anywhere below a folder, sorted as text; holds the names of one folder at a time.

    Those with one of these suffixes; None: all images, by their suffix or else by their content,
    and files with the suffix `also`.
    """
    kept, unknown, other = dict[str, Entry](), list[Entry](), list[tuple[str, str]]()
    wanted = {*(SUFFIXES if suffixes is None else suffixes), also}
    for entry in tree.entries(inside):
        name = entry.name
        if is_hidden(name):
            other.append((name, HIDDEN))
        elif (kind := entry.kind()) == FOLDER:
            kept[f"{name}/"] = entry
        elif kind != FILE:
            other.append((name, kind))
        elif suffix_of(name) in wanted - {""}:
            kept[name] = entry
        else:
            unknown.append(entry)
    judged = _judged(tree, inside, unknown) if suffixes is None else [NO_IMAGE] * len(unknown)
    for entry, kind in zip(unknown, judged, strict=True):
        if kind == FILE:
            kept[entry.name] = entry
        else:
            other.append((entry.name, kind))
    for name, reason in sorted(other):
        left.add(below(inside, name), reason)
    # Folders with their slash: so sorted, all paths are sorted as text.
    for name, entry in sorted(kept.items()):
        if name.endswith("/"):
            yield from walk(tree, below(inside, name[:-1]), left, suffixes, also)
        else:
            yield Found(below(inside, name), entry.state)


def below(folder: str, name: str) -> str:
    """The path of a name in a folder."""
    return f"{folder}/{name}" if folder else name


def is_hidden(name: str) -> bool:
    """Whether a file or folder is of no interest by its name alone."""
    return name.startswith(".") or name in JUNK


def suffix_of(name: str) -> str:
    """.jpg, in small letters."""
    return os.path.splitext(name)[1].lower()


def _judged(tree: Tree, folder: str, entries: Sequence[Entry]) -> list[str]:
    """FILE for the images among files without an image's suffix, for others a reason."""
    if not entries:
        return []

    def kind(entry: Entry) -> str:
        path = below(folder, entry.name)
        size, _ = entry.state()
        return _kind_of(path, tree.head(path) if size else b"")

    with ThreadPoolExecutor(tree.threads) as threads:
        return list(threads.map(kind, entries))


def _kind_of(path: str, head: bytes | None) -> str:
    if head is None:
        return UNREADABLE
    if named(head, OTHER):
        return FORMAT
    known = named(head, READ)
    if suffix_of(path) in UNREAD:
        return FILE if known not in (None, "TIFF") else FORMAT
    return FILE if known else NO_IMAGE


class Disk:
    """Folders of this machine.

    A link to a folder is left out, one out of the root is an error; with `follow_links` both are
    followed, except where one leads back to a folder above itself.
    """

    threads = 1

    def __init__(self, root: Path, follow_links: bool) -> None:
        self.root, self.follow_links = root, follow_links
        self.real_root = os.path.realpath(root)

    def entries(self, folder: str) -> Iterator[Entry]:
        with os.scandir(self.root / folder) as entries:
            for each in entries:
                path = below(folder, each.name)
                yield Entry(each.name, partial(self._kind, each, path), partial(_on_disk, each))

    def head(self, path: str) -> bytes | None:
        try:
            with open(self.root / path, "rb") as file:
                return file.read(HEAD)
        except OSError:
            return None

    def _kind(self, entry: os.DirEntry[str], path: str) -> str:
        if entry.is_symlink() and (reason := self._left_out(entry, path)):
            return reason
        if entry.is_dir():
            return FOLDER
        return FILE if entry.is_file() else ODD

    def _left_out(self, entry: os.DirEntry[str], path: str) -> str | None:
        target = os.path.realpath(entry.path)
        if self.follow_links:
            if not os.path.isdir(target):
                return None if os.path.exists(target) else LOST
            above = {os.path.realpath(each) for each in Path(entry.path).parents}
            return LOOP if target in above else None
        if os.path.commonpath([self.real_root, target]) != self.real_root:
            raise DataError(
                f"{self.root / path} is a link out of {self.root}; copy the file there, or set"
                " dataset.follow_links: true (of `rayal score`: --set follow_links=true)"
            )
        if os.path.isdir(target):
            return LINKED
        return None if os.path.exists(target) else LOST


class Bucket:
    """Folders of any storage that fsspec reaches."""

    threads = THREADS

    def __init__(self, fs: Any, top: str) -> None:
        self.fs, self.top = fs, top

    def entries(self, folder: str) -> Iterator[Entry]:
        here = below(self.top, folder) if folder else self.top
        with storage_errors(here):
            found = self.fs.ls(here, detail=True)
        self.fs.invalidate_cache()  # else the whole tree stays in memory
        for each in found:
            inner = each["type"] == "directory"
            if each["name"].rstrip("/") != here:
                name = each["name"].removeprefix(f"{here}/").rstrip("/")
                yield Entry(name, partial(str, FOLDER if inner else FILE), partial(_stored, each))
            elif inner:  # else a placeholder for the folder itself
                yield from self._behind_two_slashes(here)

    def head(self, path: str) -> bytes | None:
        try:
            data: bytes = self.fs.cat_file(f"{self.top}/{path}", start=0, end=HEAD)
        except (OSError, ValueError):
            return None
        return data

    def _behind_two_slashes(self, here: str) -> Iterator[Entry]:
        """What is called as in no path, all of it: it cannot be listed folder by folder."""
        with storage_errors(here):
            found = self.fs.find(here, prefix="/", detail=True)
        for key, each in found.items():
            if not key.startswith(f"{here}//"):
                continue
            name = key.removeprefix(f"{here}/")
            hidden = any(map(is_hidden, name.split("/")))
            kind = HIDDEN if hidden else FILE
            yield Entry(name, partial(str, kind), partial(_stored, each))


def _on_disk(entry: os.DirEntry[str]) -> State:
    found = entry.stat()
    return found.st_size, str(found.st_mtime_ns)


def _stored(entry: dict[str, Any]) -> State:
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
    return int(entry["size"] or 0), str(next((entry[n] for n in names if entry.get(n)), ""))
