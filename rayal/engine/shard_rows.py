"""Shards as rows of Ray Data: handed out, and decoded where there are free cores.

Ray Data streams, balances and bounds what is decoded ahead; what is done is remembered by the shard
files alone. One row is one shard, images included, so no block can split the unit of work. The
defaults of Ray Data 2.57-2.60 that matter are met here and nowhere else.
"""

import json
import logging
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataContext

from rayal.cycle.score import ShardTask
from rayal.cycle.scorer import read_rows
from rayal.data.pool import Decoded, Images, Shard
from rayal.engine.failures import described, raised
from rayal.storage.folder import Json

NO_PROGRESS_SECONDS = 600  # decoding that stands still this long is stuck; Ray's default is 1800
BLOCKS = 2000
"""Most pieces that the list of shards is handed out in: each costs the driver memory and time."""


def blocks_of(images: Images, tasks: Sequence[ShardTask]) -> Generator[Any]:
    """References to blocks of rows, each a task and, where the pool is not raw, its images."""
    _configure(DataContext.get_current())
    rows = [{**task.shard._asdict(), "ids": task.ids} for task in tasks]
    shards: Any = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS))
    if not images.raw:
        shards = shards.map_batches(_Decoder(images), batch_size=1, batch_format="pyarrow")
    for bundle in shards.iter_internal_ref_bundles():
        yield from bundle.block_refs


def _configure(context: DataContext) -> None:
    context.enable_progress_bars = False  # rayal shows its own
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS


def task_of(row: pa.Table) -> ShardTask:
    """The task of a table of one row."""
    (told,) = row.select([*Shard._fields, "ids"]).to_pylist()
    return ShardTask(Shard(**{field: told[field] for field in Shard._fields}), told["ids"])


def decoded_of(row: pa.Table) -> Decoded | None:
    """The images of a table of one row; None where nobody decoded them yet.

    Raises what the decoder described in their place.
    """
    if "decoded" not in row.column_names:
        return None
    error: Json | None = json.loads(row["error"][0].as_py())
    raised(error or {})
    return _unpacked(row["decoded"][0])


class _Decoder:
    """Reads and decodes a shard's images where there are free cores."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            decoded, error = self.images.decode(read_rows(self.images, task_of(batch))), None
        except Exception as failure:  # told by the process that receives it
            decoded, error = Decoded([], np.empty((0, 0), np.uint8), {}), described(failure)
        return batch.append_column("decoded", _packed(decoded)).append_column(
            "error", pa.array([json.dumps(error)], pa.string())
        )


def _packed(decoded: Decoded) -> pa.StructArray:
    """One row with the images as one buffer: nested lists would cost a copy per pixel row."""
    pixels = pa.py_buffer(np.ascontiguousarray(decoded.images))
    offsets = pa.py_buffer(np.array([0, pixels.size], np.int64))
    sizes = None if decoded.sizes is None else decoded.sizes.ravel().tolist()
    return pa.StructArray.from_arrays(
        [
            pa.array([decoded.ids], pa.list_(pa.string())),
            pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, pixels]),
            pa.array([list(decoded.images.shape)], pa.list_(pa.int64())),
            pa.array([json.dumps(decoded.bad)], pa.string()),
            pa.array([sizes], pa.list_(pa.int32())),
        ],
        names=["ids", "images", "shape", "bad", "sizes"],
    )


def _unpacked(packed: pa.StructScalar) -> Decoded:
    pixels = np.frombuffer(packed["images"].as_buffer(), np.uint8)
    sizes = packed["sizes"].as_py()
    return Decoded(
        packed["ids"].as_py(),
        pixels.reshape(packed["shape"].as_py()),
        json.loads(packed["bad"].as_py()),
        None if sizes is None else np.array(sizes, np.int32).reshape(-1, 2),
    )
