"""What `rayal score --pool` accepts: Parquet files, a folder of images, a dataset; no labels."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from typing import NamedTuple

import pyarrow as pa

from rayal.data import uri
from rayal.data.card import CARD, ImageSpec
from rayal.data.datasets.base import Dataset
from rayal.data.images import Decoding, frame_of
from rayal.data.pool import Images, Shard, cut
from rayal.data.pool.files import ParquetImages
from rayal.data.pool.folder import (
    GROUP_ROWS,
    LISTING,
    PARQUET,
    Changes,
    changes,
    list_folder,
    parquet_files,
)
from rayal.data.store import Store
from rayal.errors import DataError, UsageError, counted, quoted
from rayal.parts import find, names
from rayal.storage.columns import is_binary, is_file, is_text, tensor_shape
from rayal.storage.failures import storage_errors
from rayal.storage.folder import Folder, Json
from rayal.storage.location import located
from rayal.storage.parquet import Footer, footers


@dataclass(frozen=True)
class Pool:
    """Images to score, and the files that they are read from."""

    images: Images
    files: Mapping[str, Sequence[int]]
    """URL -> rows of its row groups."""
    fingerprint: str
    """sha256 of names, sizes and row groups of the files and of how images are decoded, but not of
    what is in the files: a pool may be too large to read twice. Of a listing: of all ids."""
    origin: str
    """For people."""
    unique: bool = False
    """Whether ids were made by rayal, so that none can be strange or used twice."""
    least_rows: int = 1
    """Rows below which a shard is not cut: prepared stores are read in whole row groups."""
    left_out: str = ""
    """What is told of the files in its folder that are not of it."""
    changes: Changes | None = None
    """How its folder differs from the listing that it was opened by; None: not at all."""
    decoding: Decoding | None = None
    """How its images were or are decoded, where that was decided before."""
    image_bytes: int = 0
    """What an image takes in memory before it is decoded, on average; 0: no more than after."""

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(map(sum, self.files.values()))

    def shards(self, rows: int) -> list[Shard]:
        """The pool cut into pieces of about so many rows, see `cut`."""
        return cut(self.files, max(rows, self.least_rows))


def open_pool(
    where: str,
    *,
    id: str | None = "id",
    image: str = "image",
    decoding: Decoding,
    spec: ImageSpec,
    listing: Folder,
    follow_links: bool = False,
) -> Pool:
    """The pool at a path or URL, or of the dataset of this name (`./name` is a folder).

    `id` and `image` are columns of Parquet files, `decoding` is how encoded images come to the
    shape of `spec`. The paths in a folder of images are written into `listing`, and read there when
    the pool is opened again: `Pool.changes` says how the folder differs by then. Raises UsageError
    or DataError for what cannot be a pool of the model, before any image is read, StorageError for
    what cannot be reached.
    """
    if (store := prepared_store(where)) is not None:
        return _of_store(store, spec)
    if len(spec.sides) > 2:
        raise UsageError(
            f"the model sees volumes {spec.shape} ({spec.axes}), and no files of a pool hold such;"
            " give the name of a dataset of volumes, or the folder of its prepared store"
        )
    place = _placed(where)
    if place.kind == "folder" and listing.exists(LISTING):
        return _of_listing(place.url, listing, follow_links, decoding, spec)
    root, files = _parquet(place, follow_links)
    if not files:
        return _of_listing(root, listing, follow_links, decoding, spec)
    return _of_parquet(root, files, id, image, decoding, spec)


def prepared_store(where: str) -> Store | None:
    """The prepared dataset of this name, or at this path or URL; None where there is another pool.

    Raises UsageError as `open_pool`.
    """
    if where in names("datasets"):
        return _opened_dataset(where)
    place = _placed(where)
    there = place.kind == "folder" and Folder(place.url).exists(CARD)
    return Store(place.url) if there else None


class _Place(NamedTuple):
    url: str
    """Absolute path or URL, without a slash at the end."""
    kind: str
    """`file`, `folder` or `pattern`."""


def _placed(where: str) -> _Place:
    path = where.removeprefix("file://")
    if "://" in path:
        fs, inside = located(path)
        with storage_errors(path):
            is_file, is_folder = fs.isfile(inside), fs.isdir(inside)
        url = path.rstrip("/")
    else:
        url = os.path.abspath(os.path.expanduser(path))
        is_file, is_folder = os.path.isfile(url), os.path.isdir(url)
    if is_folder or is_file:
        return _Place(url, "folder" if is_folder else "file")
    if has_magic(url):
        return _Place(url, "pattern")
    near = get_close_matches(where, names("datasets"), n=1)
    hint = f"; did you mean the dataset {near[0]!r}?" if near else ""
    raise UsageError(
        f"there is no pool {where!r}{hint}; give a {PARQUET} file, a pattern of such, a folder of"
        f" them or of images, or one of the datasets {', '.join(names('datasets'))}"
    )


def _parquet(place: _Place, follow_links: bool) -> tuple[str, list[str]]:
    """The root of a pool and, below it, its Parquet files; none for a folder of images."""
    if place.kind == "folder":
        return place.url, parquet_files(place.url, follow_links)
    if place.kind == "file":
        root, name = place.url.rsplit("/", 1)
        found = [name]
    else:
        root = _root_of(place.url)
        found = _matches(root, place.url)
    files = sorted(name for name in found if name.lower().endswith(PARQUET))
    if not files:
        raise UsageError(f"{place.url} names no {PARQUET} file; give such files, or a folder")
    return root, files


def _root_of(pattern: str) -> str:
    """The folders before the first that is a pattern."""
    parts = pattern.split("/")
    return "/".join(parts[: next(n for n, part in enumerate(parts) if has_magic(part))])


def _matches(root: str, pattern: str) -> list[str]:
    """Paths below `root` of files; without names that start with a dot or an underscore."""
    if os.path.isabs(pattern):
        top, found = root, [path for path in glob(pattern, recursive=True) if os.path.isfile(path)]
    else:
        fs, inside = located(pattern)
        top = located(root)[1]
        with storage_errors(pattern):
            found = [path for path in fs.glob(inside) if fs.isfile(path)]
    below = [path.removeprefix(f"{top}/") for path in found]
    return [
        path for path in below if not any(name.startswith((".", "_")) for name in path.split("/"))
    ]


def _of_parquet(
    root: str, names: Sequence[str], id: str | None, image: str, decoding: Decoding, spec: ImageSpec
) -> Pool:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{root}: file {quoted(name)} is not Unicode; rename it") from error
    columns = [image] if id is None else [id, image]
    found = footers([f"{root}/{name}" for name in names], columns)
    types = next(iter(found.values())).types
    if id is not None and not (is_text(types[id]) or pa.types.is_integer(types[id])):
        raise DataError(f"column {id!r} holds {types[id]}; ids are strings or integers")
    raw = _holds_pixels(image, types[image], spec)
    if not raw:
        _check_decoding(decoding, spec)
    options = {"id": id, "image": image, "decoding": None if raw else decoding.model_dump()}
    layout = zip(names, found.values(), strict=True)
    _check_sizes(found, image)
    stored = sum(footer.sizes[image] for footer in found.values())
    rows = sum(sum(footer.groups) for footer in found.values())
    return _checked(
        Pool(
            images=ParquetImages(root, id, image, raw, decoding, spec.shape),
            files={file: footer.groups for file, footer in found.items()},
            fingerprint=_digest(options, ([name, f.bytes, *f.groups] for name, f in layout)),
            origin=f"{counted(len(names), 'Parquet file')} in {root}",
            unique=id is None,
            image_bytes=0 if raw else stored // max(rows, 1),
        )
    )


def _check_sizes(found: Mapping[str, Footer], image: str) -> None:
    for file, footer in found.items():
        if footer.sizes[image] > max(rows := sum(footer.groups), 1) * uri.MAX_BYTES:
            raise DataError(
                f"{file}: column {image!r} takes {footer.sizes[image]:,} bytes when unpacked, in"
                f" {rows} rows; an image may take {uri.MAX_BYTES:,}: write it again"
            )


def _holds_pixels(column: str, kind: pa.DataType, spec: ImageSpec) -> bool:
    """Whether images need no decoding; DataError for a column that fits no model or not this."""
    if is_text(kind) or is_binary(kind) or is_file(kind):
        return False
    if tensor_shape(kind) == spec.shape:
        return True
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == math.prod(spec.shape):
        return True
    raise DataError(
        f"column {column!r} holds {kind}; images are binary, string, or for this model raw pixels:"
        f" a uint8 tensor {spec.shape} (C, H, W; or H, W, C), or fixed-size binary of"
        f" {math.prod(spec.shape)}"
    )


def _of_listing(
    root: str, listing: Folder, follow_links: bool, decoding: Decoding, spec: ImageSpec
) -> Pool:
    _check_decoding(decoding, spec)
    again = listing.exists(LISTING)
    known = list_folder(root, listing, follow_links)
    return Pool(
        images=ParquetImages(root, "id", "image", False, decoding, spec.shape),
        files={
            f"{listing.url}/{name}": [
                min(GROUP_ROWS, rows - first) for first in range(0, rows, GROUP_ROWS)
            ]
            for name, rows in known["files"].items()
        },
        fingerprint=_digest({"decoding": decoding.model_dump()}, [[known["ids"]]]),
        origin=f"images in {root}",
        unique=True,
        left_out=known.get("left_out", ""),
        changes=changes(root, listing, known) or None if again else None,
    )


def _opened_dataset(name: str) -> Store:
    part: type[Dataset] = find("datasets", name)
    try:
        dataset = part()
    except UsageError as error:
        raise UsageError(
            f"dataset {name!r} cannot be opened by its name alone; give its files, or the folder of"
            " its prepared store"
        ) from error
    return dataset.open()


def _of_store(store: Store, spec: ImageSpec) -> Pool:
    card = store.card
    if card.image.shape != spec.shape:
        raise UsageError(
            f"the images of {card.name} are {card.image.shape} ({card.image.axes}), the model sees"
            f" {spec.shape}; prepare the dataset in that size, or give its original files"
        )
    files = store.pool.groups()
    options = {"store": card.fingerprint}
    return _checked(
        Pool(
            images=store.pool,
            files=files,
            fingerprint=_digest(options, ([name, *groups] for name, groups in files.items())),
            origin=f"the pool of {card.name} in {store.url}",
            unique=True,
            decoding=card.decoding,
            least_rows=card.group_rows,
        )
    )


def _check_decoding(decoding: Decoding, spec: ImageSpec) -> None:
    made = decoding.channels, *(decoding.frame or (spec.height, spec.width))
    if made != spec.shape:
        raise UsageError(
            f"images are decoded to {made} (C, H, W), the model sees {spec.shape}; set"
            f" {frame_of(spec.height, spec.width)} and channels: {spec.channels} of decoding"
        )


def _checked(pool: Pool) -> Pool:
    if not pool.rows:
        raise DataError(f"the pool ({pool.origin}) has no rows; name another")
    return pool


def _digest(options: Json, rows: Iterable[Sequence[object]]) -> str:
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for row in rows:
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
