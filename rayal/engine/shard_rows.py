"""A shard as a table of one row, as it travels to whoever scores it.

The row names the shard, and has its images where somebody has decoded them already: so no block of
a table can split the unit of work.
"""

import json

import numpy as np
import pyarrow as pa

from rayal.cycle.score import ShardTask
from rayal.data.pool import Decoded, Shard
from rayal.engine.described import described
from rayal.engine.failures import raised
from rayal.storage.folder import Json


def row_of(task: ShardTask) -> Json:
    """What `task_of` reads."""
    return {**task.shard._asdict(), "ids": task.ids}


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


def with_decoded(row: pa.Table, decoded: Decoded | Exception) -> pa.Table:
    """The row with its images, or with what decoding them raised, told by whoever receives it."""
    error = None
    if isinstance(decoded, Exception):
        error, decoded = described(decoded), Decoded([], np.empty((0, 0), np.uint8), {})
    return row.append_column("decoded", _packed(decoded)).append_column(
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
            pa.array([decoded.images.dtype.name]),
            pa.array([json.dumps(decoded.bad)], pa.string()),
            pa.array([sizes], pa.list_(pa.int32())),
        ],
        names=["ids", "images", "shape", "numbers", "bad", "sizes"],
    )


def _unpacked(packed: pa.StructScalar) -> Decoded:
    pixels = np.frombuffer(packed["images"].as_buffer(), packed["numbers"].as_py())
    sizes = packed["sizes"].as_py()
    return Decoded(
        packed["ids"].as_py(),
        pixels.reshape(packed["shape"].as_py()),
        json.loads(packed["bad"].as_py()),
        None if sizes is None else np.array(sizes, np.int32).reshape(-1, 2),
    )
