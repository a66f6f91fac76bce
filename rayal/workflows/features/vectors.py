"""A store of vectors, made of the shards of a pass that kept them.

N rows of one shard, D features.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayal.cycle import shard_file
from rayal.data.card import Card, ImageSpec, SplitName, write_card
from rayal.data.copies import COPIES
from rayal.data.copies import encode as encode_copies
from rayal.data.statistics import Moments
from rayal.data.store import LABEL_FILES, Store
from rayal.data.store_writer import Files
from rayal.runs.passes import Pass
from rayal.storage.folder import Folder

GROUP_ROWS = 4096
"""Vectors in a row group, the least that is read at a time."""
KEPT = "keep.features"
"""Column of a shard."""

Vectors = NDArray[np.float16]


def write_store(
    store: Store,
    passes: Mapping[SplitName, tuple[Folder, Pass]],
    fingerprint: str,
    out: Path,
) -> Card:
    """Writes into the empty folder `out` what the passes kept of the splits of `store`: vectors in
    the order of its images, its labels, and which images have the content of another one."""
    parts, bad = dict[str, int](), dict[str, str]()
    moments: Moments | None = None
    width = 0
    for split, (folder, result) in passes.items():
        (out / split).mkdir()
        files: Files | None = None
        for ids, vectors, reasons in _shards(folder, result):
            if files is None:
                width = vectors.shape[1]
                column = pa.field("image", pa.binary(2 * width))
                name = f"{split}/part-{{:05d}}.parquet"
                files = Files(out, name, column, GROUP_ROWS)
            good = np.array([unit not in reasons for unit in ids], bool)
            values = [row.tobytes() if ok else None for row, ok in zip(vectors, good, strict=True)]
            files.write(ids, values)
            bad |= reasons
            if split == "pool":
                moments = moments or Moments(width)
                moments.add(vectors[good].T)
        if files is not None:
            files.__exit__(None)
            parts |= files.rows
    beside = [*LABEL_FILES.values()]
    for name in beside:
        (out / name).write_bytes(Folder(store.url).read(name))
    if store.copies is not None:  # they are about images, which have the same ids
        known = COPIES in store.card.files
        (out / COPIES).write_bytes(Folder(store.url).read(COPIES) if known else encode_copies([]))
        beside.append(COPIES)
    assert moments is not None, "a pool has images"
    mean, std = moments.moments()
    card = store.card.model_copy(
        update={
            "fingerprint": fingerprint,
            "image": ImageSpec.of(
                (width,),
                tuple(mean.tolist()),
                tuple(np.where(std > 0, std, 1.0).tolist()),
                "float16",
            ),
            "encoding": "raw",
            "decoding": None,
            "parts": parts,
            "group_rows": GROUP_ROWS,
            "bad": bad,
            "sizes": {},
            "files": {name: _sealed(out / name) for name in (*parts, *beside)},
            "origin": f"features of {store.card.origin}",
        }
    )
    write_card(Folder(out), card)
    return card


def _shards(folder: Folder, result: Pass) -> Iterator[tuple[list[str], Vectors, dict[str, str]]]:
    """Ids, vectors (N D) and the reasons of bad ones of each shard, in the order of the store."""
    for record in result.shards:
        table = shard_file.read_shard(folder, record.name, ["id", "status", KEPT], record)
        status = dict(zip(table["id"].to_pylist(), table["status"].to_pylist(), strict=True))
        bad = {unit: reason for unit, reason in status.items() if reason != shard_file.OK}
        column = table[KEPT].combine_chunks()
        vectors = column.values.to_numpy(zero_copy_only=False).reshape(len(column), -1)
        yield [*status], vectors.astype(np.float16, copy=False), bad


def _sealed(path: Path) -> str:
    """The sha256 of a file, once it is on the disk for good."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
