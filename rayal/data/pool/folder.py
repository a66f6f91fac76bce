"""What is in the folder of a pool: Parquet files, or images, whose listing is written once.

```
listing.json           written last: its existence means that the listing is whole
part-00000.parquet     id (path below the folder), image (absolute path or URL)
```
"""

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayal.data import uri
from rayal.data.datasets.base import cache
from rayal.data.listing import JUNK, SUFFIXES, walk_images
from rayal.errors import DataError, UsageError, quoted
from rayal.storage.folder import Folder, Json, located, storage_errors
from rayal.storage.once import build_once

LISTING = "listing.json"
GROUP_ROWS = 2048
PART_ROWS = 512 * GROUP_ROWS
PARQUET = ".parquet"
SCHEMA = pa.schema({"id": pa.string(), "image": pa.string()})


def parquet_files(root: str, follow_links: bool) -> list[str]:
    """Paths below `root` of the Parquet files in it, sorted; none where it holds images instead.

    Names that start with a dot or an underscore (what writers note or have not finished) are left
    out. Raises UsageError for a folder of both kinds, DataError for a link that leads out.
    """
    found = list[str]()
    for path in _files(root, follow_links):
        if _is_noted(path):
            continue
        if not _is_parquet(path):
            if not found:
                return []  # `_images` looks at the rest
            raise _mixed(root, found[0], path)
        found.append(path)
    return sorted(found)


def list_folder(root: str, listing: Folder, follow_links: bool) -> Json:
    """What `listing` says about the images below `root`: listed now where nobody has before.

    `files` are the rows of its Parquet files by name, `ids` the sha256 of all ids. Raises DataError
    for a folder without images, UsageError where `listing` is that of another folder.
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


def _write(asked: Json, out: Path) -> None:
    """Into an empty folder; holds a few thousand paths at a time."""
    root, ids, files = asked["root"], hashlib.sha256(), dict[str, int]()
    paths = _images(root, asked["follow_links"])
    while first := list(islice(paths, GROUP_ROWS)):
        name = f"part-{len(files):05d}{PARQUET}"
        files[name] = 0
        options = {"write_page_checksum": True, "use_dictionary": False, "compression": "zstd"}
        with pq.ParquetWriter(out / name, SCHEMA, **options) as writer:
            while first:
                ids.update("".join(f"{path}\0" for path in first).encode())
                addresses = [f"{root}/{path}" for path in first]
                writer.write_table(pa.table({"id": first, "image": addresses}, SCHEMA))
                files[name] += len(first)
                first = list(islice(paths, GROUP_ROWS)) if files[name] < PART_ROWS else []
    if not files:
        suffixes = " ".join(sorted(SUFFIXES))
        raise DataError(f"{root} holds no images ({suffixes}) and no Parquet files; name another")
    Folder(out).write_sealed(LISTING, {**asked, "files": files, "ids": ids.hexdigest()})


def _images(root: str, follow_links: bool) -> Iterator[str]:
    """Paths below `root`, sorted folder by folder; DataError for one that is not Unicode."""
    if not os.path.isabs(root):
        uri.checked(root)
    first = None
    for path in _files(root, follow_links):
        first = first or path
        if _is_parquet(path):
            if _is_noted(path):
                continue
            raise _mixed(root, path, first)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{root}: file {quoted(path)} is not Unicode; rename it") from error
        yield path


def _mixed(root: str, parquet: str, image: str) -> UsageError:
    return UsageError(
        f"{root} holds Parquet files ({parquet}) and images ({image}); name those that are the pool"
        f" by a pattern such as {root}/*{PARQUET}, or move the others away"
    )


def _files(root: str, follow_links: bool) -> Iterator[str]:
    """Paths of images and Parquet files below `root`, without hidden ones, one folder in memory at
    a time."""
    wanted = SUFFIXES | {PARQUET}
    if not os.path.isabs(root):
        fs, top = located(root)
        yield from (path for path in _remote(fs, top, "") if _suffix(path) in wanted)
        return
    try:
        for path in walk_images(Path(root), ".", follow_links, wanted):
            yield path.removeprefix("./")
    except OSError as error:
        with storage_errors(str(error.filename or root)):
            raise


def _is_noted(path: str) -> bool:
    """Whether it is what a writer has noted, or not finished."""
    return any(name.startswith("_") for name in path.split("/"))


def _is_parquet(path: str) -> bool:
    return _suffix(path) == PARQUET


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _remote(fs: Any, top: str, folder: str) -> Iterator[str]:
    here = f"{top}/{folder}".rstrip("/")
    with storage_errors(here):
        names = {
            entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry["type"] == "directory"
            for entry in fs.ls(here, detail=True)
            if entry["name"].rstrip("/") != here  # a placeholder for the folder itself
        }
    fs.invalidate_cache()  # else the whole tree stays in memory
    for name in sorted(f"{name}/" if is_folder else name for name, is_folder in names.items()):
        if _is_hidden(name):
            continue
        if name.endswith("/"):
            yield from _remote(fs, top, f"{folder}{name}")
        else:
            yield f"{folder}{name}"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.rstrip("/") == JUNK
