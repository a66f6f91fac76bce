"""Shards, handed out; those of encoded images through Ray Data, which decodes them where there are
free cores.

Ray Data streams, balances and bounds what is decoded ahead; what is done is remembered by the shard
files alone. Of a raw pool a shard is a few numbers, read by whoever scores it: Ray Data would start
two processes of its own to hand them on. The defaults of Ray Data 2.57-2.60 that matter are met
here and nowhere else. Who scores imports none of this: Ray Data takes half a second to import.
"""

import logging
from collections.abc import Generator, Sequence
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import DataContext
from ray.data.exceptions import ExecutionTimeoutError

from rayal.cycle.score import ShardTask
from rayal.cycle.scorer import read_rows
from rayal.data.pool import Decoded, Images
from rayal.engine.failures import GOES_ON
from rayal.engine.shard_rows import row_of, task_of, with_decoded
from rayal.errors import ClusterError

NO_PROGRESS_SECONDS = 600  # decoding that stands still this long is stuck; Ray's default is 1800
BLOCKS = 2000
"""Most pieces that the list of shards is handed out in: each costs the driver memory and time."""


def blocks_of(images: Images, tasks: Sequence[ShardTask]) -> Generator[Any]:
    """References to blocks of rows, each a task and, where the pool is not raw, its images.

    Raises ClusterError where nothing is read or decoded for ten minutes.
    """
    if images.raw:
        yield from (ray.put(pa.Table.from_pylist([row_of(task)])) for task in tasks)
        return
    _configure(DataContext.get_current())
    rows = [row_of(task) for task in tasks]
    shards: Any = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS))
    decoded = shards.map_batches(_Decoder(images), batch_size=1, batch_format="pyarrow")
    try:
        for bundle in decoded.iter_internal_ref_bundles():
            yield from bundle.block_refs
    except ExecutionTimeoutError as error:
        raise ClusterError(
            f"reading stands still: nothing was decoded in {NO_PROGRESS_SECONDS // 60} minutes;"
            f" see `ray status`; {GOES_ON}"
        ) from error


def _configure(context: DataContext) -> None:
    context.enable_progress_bars = False  # rayal shows its own
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS


class _Decoder:
    """Reads and decodes a shard's images where there are free cores."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __call__(self, batch: pa.Table) -> pa.Table:
        decoded: Decoded | Exception
        try:
            decoded = self.images.decode(read_rows(self.images, task_of(batch)))
        except Exception as failure:
            decoded = failure
        return with_decoded(batch, decoded)
