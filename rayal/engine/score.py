"""The scoring pass on Ray Data: shard descriptors -> decode on CPU -> score actors -> results.

Ray Data moves, balances and restarts the work; what is done is remembered by the shard files alone.
One row is one shard, images included, so no block can split or merge the unit of work. The defaults
of Ray Data 2.57-2.60 that matter are met here and nowhere else.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.scorer import Scorer, read_rows
from rayal.data.pool import Decoded, Images, Shard
from rayal.engine.failures import described, raised, ray_errors
from rayal.experiment.experiment import Compute
from rayal.runs.results import ScoredShard
from rayal.storage.folder import Json

NO_PROGRESS_SECONDS = 600  # a pass that stands still this long is stuck; Ray's default is 1800
SHARDS_IN_FLIGHT = 2  # per actor: one scored, one waiting
BLOCKS = 2000
"""Most pieces that the list of shards is handed out in: each costs the driver memory and time."""


def score_on_ray(
    job: ScoreJob, tasks: Sequence[ShardTask], compute: Compute
) -> Iterator[ScoredShard]:
    """The results of the tasks as their files appear, in any order.

    Raises what a worker raised, and ClusterError when workers keep dying.
    """
    if not tasks:
        return
    _configure(DataContext.get_current())
    pool = ActorPoolStrategy(
        size=min(compute.scorers or 1, len(tasks)), max_tasks_in_flight_per_actor=SHARDS_IN_FLIGHT
    )
    rows = [_row(task) for task in tasks]
    shards: Any = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS))
    if not job.images.raw:
        shards = shards.map_batches(_Decoder(job.images), batch_size=1, batch_format="pyarrow")
    with warnings.catch_warnings():
        # the replacement of max_restarts as a keyword is not there before 2.61
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        results = shards.map_batches(
            _ScoreActor,
            fn_constructor_args=(job, compute.device),
            batch_size=1,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=1,
            num_gpus=1 if compute.device == "cuda" else 0,
            max_restarts=compute.max_failures,
        )
    with ray_errors("the scoring pass"):
        for row in results.iter_rows():
            yield ScoredShard.from_json(raised(json.loads(row["result"])))


def _configure(context: DataContext) -> None:
    context.enable_progress_bars = False  # rayal shows its own
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS


def _row(task: ShardTask) -> dict[str, Any]:
    return {**task.shard._asdict(), "ids": task.ids}


def _task(batch: pa.Table) -> ShardTask:
    (row,) = batch.select([*Shard._fields, "ids"]).to_pylist()
    return ShardTask(Shard(**{field: row[field] for field in Shard._fields}), row["ids"])


class _Decoder:
    """Reads and decodes a shard's images where there are free cores: the input of the actors."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            decoded, error = self.images.decode(read_rows(self.images, _task(batch))), None
        except Exception as failure:  # described to the driver by the actor that receives it
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


class _ScoreActor:
    """Holds the job's models; scores one shard a call."""

    def __init__(self, job: ScoreJob, device: str) -> None:
        self.job, self.device = job, device
        self.scorer: Scorer | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            result = self._score(batch)
        except Exception as error:
            result = described(error)
        return pa.table({"result": [json.dumps(result)]})

    def _score(self, batch: pa.Table) -> Json:
        """The result of the shard, or the error that its decoder described."""
        if self.scorer is None:  # not in __init__, where an error would look like a dead actor
            self.scorer = Scorer(self.job, self.device)
        task = _task(batch)
        if "decoded" not in batch.column_names:
            decoded = self.scorer.decode(self.scorer.read(task))
            return self.scorer.score(task, decoded).to_json()
        error: Json | None = json.loads(batch["error"][0].as_py())
        return error or self.scorer.score(task, _unpacked(batch["decoded"][0])).to_json()
