"""What is in the folder of a pool: Parquet files, or images, whose listing is written once.

```
listing.json           written last: its existence means that the listing is whole
part-00000.parquet     id (path below the folder), image (absolute path or URL), bytes and stamp,
                       which change with the content as far as the storage tells
left_out.csv           path and reason of what is no image, or none that is read
```
"""

import csv
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data import uri
from rayal.data.datasets.base import cache
from rayal.data.walk import SUFFIXES, Bucket, Disk, Found, LeftOut, State, suffix_of, walk
from rayal.errors import DataError, UsageError, quoted
from rayal.storage import csv_file
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder, Json
from rayal.storage.location import located
from rayal.storage.once import build_once
from rayal.storage.parquet import open_parquet

LISTING, LEFT_OUT = "listing.json", "left_out.csv"
GROUP_ROWS = 2048
PART_ROWS = 512 * GROUP_ROWS
PARQUET = ".parquet"
SCHEMA = pa.schema(
    {"id": pa.string(), "image": pa.string(), "bytes": pa.int64(), "stamp": pa.string()}
)
SHOWN = 3  # names in a message

logger = logging.getLogger(__name__)


@dataclass
class Changes:
    """How a folder differs from its listing."""

    added: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.gone or self.changed)

    def __str__(self) -> str:
        """`2 added (first 'a.png', 'b.png'), 1 gone (first 'c.png')`."""
        each = {"added": self.added, "gone": self.gone, "changed": self.changed}
        return ", ".join(
            f"{len(paths)} {what} (first {', '.join(map(quoted, paths[:SHOWN]))})"
            for what, paths in each.items()
            if paths
        )


def parquet_files(root: str, follow_links: bool) -> list[str]:
    """Paths below `root` of the Parquet files in it, sorted; none where it holds images instead.

    Names that start with a dot or an underscore (what writers note or have not finished) are left
    out. Raises UsageError for a folder of both kinds, DataError for a link that leads out.
    """
    found, left = list[str](), LeftOut()
    for path, _ in _files(root, follow_links, left):
        if _is_noted(path):
            continue
        if not _is_parquet(path):
            if not found:
                return []  # `_images` looks at the rest
            raise _mixed(root, found[0], path)
        found.append(path)
    if left.counts:
        logger.warning("%s: %s", root, left)
    return sorted(found)


def list_folder(root: str, listing: Folder, follow_links: bool) -> Json:
    """What `listing` says about the images below `root`: listed now where nobody has before.

    `files` are the rows of its Parquet files by name, `ids` the sha256 of all ids, `left_out` what
    is told of the rest. Raises DataError for a folder without images, UsageError where `listing` is
    that of another folder.
    """
    known = listing.read_sealed(LISTING, default=None)
    if known is None:
        workplace = listing.local.parent if listing.local else cache() / "listings"
        asked = {"root": root, "follow_links": follow_links}
        build_once(listing, LISTING, partial(_write, asked), workplace)
        known = listing.read_sealed(LISTING)
    if (known["root"], known["follow_links"]) != (root, follow_links):
        raise UsageError(
            f"{listing.url} lists {known['root']} with follow_links {known['follow_links']}, not"
            f" {root} with {follow_links}; use another folder for the output"
        )
    return dict(known)


def changes(root: str, listing: Folder, known: Json) -> Changes:
    """How the folder differs now from what `list_folder` has listed.

    Where nothing differs but the times of all files, it is a copy, and that is no change.
    """
    found, left, later = Changes(), LeftOut(), 0
    before, now = _listed(listing, known), _images(root, known["follow_links"], left)
    was, has = next(before, None), next(now, None)
    while was or has:
        if has is None or (was is not None and was[0] < has.path):
            assert was is not None
            found.gone.append(was[0])
            was = next(before, None)
        elif was is None or has.path < was[0]:
            found.added.append(has.path)
            has = next(now, None)
        else:
            if was[1] not in (None, state := has.state()):
                found.changed.append(has.path)
                later += was[1][0] == state[0]
            was, has = next(before, None), next(now, None)
    copied = later and later == sum(known["files"].values()) and os.path.isabs(root)
    if copied and not (found.added or found.gone):
        logger.warning(
            "%s: all %d files have other times than when they were listed, and the same sizes:"
            " taken for a copy of them",
            root,
            later,
        )
        return Changes()
    return found


def _listed(listing: Folder, known: Json) -> Iterator[tuple[str, State | None]]:
    """Paths and states; None where an older rayal has noted none."""
    for name in known["files"]:
        with open_parquet(f"{listing.url}/{name}") as file:
            names = [each for each in SCHEMA.names if each in file.schema_arrow.names]
            for batch in file.iter_batches(GROUP_ROWS, columns=names):
                for row in batch.to_pylist():
                    yield row["id"], (row["bytes"], row["stamp"]) if "bytes" in row else None


def _write(asked: Json, out: Path) -> None:
    """Into an empty folder; holds a few thousand paths at a time."""
    root, ids, files = asked["root"], hashlib.sha256(), dict[str, int]()
    with open(out / LEFT_OUT, "w", newline="", encoding="utf-8", errors="surrogateescape") as rest:
        note = csv.writer(rest, lineterminator="\r\n")
        note.writerow(["path", "reason"])
        left = LeftOut(lambda path, reason: note.writerow([csv_file.cell(path), reason]))
        found = _images(root, asked["follow_links"], left)
        while first := list(islice(found, GROUP_ROWS)):
            name = f"part-{len(files):05d}{PARQUET}"
            files[name] = 0
            options = {"write_page_checksum": True, "use_dictionary": False, "compression": "zstd"}
            with pq.ParquetWriter(out / name, SCHEMA, **options) as writer:
                while first:
                    ids.update("".join(f"{each.path}\0" for each in first).encode())
                    writer.write_table(_table(root, first))
                    files[name] += len(first)
                    first = list(islice(found, GROUP_ROWS)) if files[name] < PART_ROWS else []
    if not files:
        told = f"; {left}" if left.counts else ""
        suffixes = " ".join(sorted(SUFFIXES))
        raise DataError(
            f"{root} holds no images ({suffixes}) and no Parquet files{told}; name another"
        )
    Folder(out).write_sealed(
        LISTING, {**asked, "files": files, "ids": ids.hexdigest(), "left_out": str(left)}
    )


def _table(root: str, found: list[Found]) -> pa.Table:
    sizes, stamps = zip(*(each.state() for each in found), strict=True)
    paths = [each.path for each in found]
    addresses = [f"{root}/{path}" for path in paths]
    return pa.table({"id": paths, "image": addresses, "bytes": sizes, "stamp": stamps}, SCHEMA)


def _images(root: str, follow_links: bool, left: LeftOut) -> Iterator[Found]:
    """Images below `root`, sorted as text; DataError for one that is not Unicode."""
    if not os.path.isabs(root):
        uri.checked(root)
    first = None
    for found in _files(root, follow_links, left):
        path = found.path
        first = first or path
        if _is_parquet(path):
            if _is_noted(path):
                continue
            raise _mixed(root, path, first)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{root}: file {quoted(path)} is not Unicode; rename it") from error
        yield found


def _mixed(root: str, parquet: str, image: str) -> UsageError:
    return UsageError(
        f"{root} holds Parquet files ({parquet}) and images ({image}); name those that are the pool"
        f" by a pattern such as {root}/*{PARQUET}, or move the others away"
    )


def _files(root: str, follow_links: bool, left: LeftOut) -> Iterator[Found]:
    """Images and Parquet files below `root`, one folder in memory at a time."""
    if not os.path.isabs(root):
        yield from walk(Bucket(*located(root)), "", left, also=PARQUET)
        return
    try:
        yield from walk(Disk(Path(root), follow_links), "", left, also=PARQUET)
    except OSError as error:
        with storage_errors(str(error.filename or root)):
            raise


def _is_noted(path: str) -> bool:
    """Whether it is what a writer has noted, or not finished."""
    return any(name.startswith("_") for name in path.split("/"))


def _is_parquet(path: str) -> bool:
    return suffix_of(path) == PARQUET
