"""Parts of a scoring pass, done once to warm up and then timed."""

from collections.abc import Callable
from time import perf_counter

from rayal.cycle.score import ShardTask, pass_rows
from rayal.cycle.scorer import Scorer
from rayal.data.store import Store
from rayal.experiment.experiment import Experiment
from rayal.runs.passes import ScoredShard


def some_units(x: Experiment, store: Store) -> ShardTask:
    """Some units of the pool: of vectors a whole shard, since its file takes longer than a few."""
    pool = store.pool
    vectors = not store.card.image.sides
    shard = pool.shards(pass_rows(x.compute, store.card) if vectors else 1)[0]
    ids: list[str] = pool.ids_of(shard).to_pylist()
    return ShardTask(shard, ids if vectors else ids[: x.compute.score_batch])


def score(scorer: Scorer, task: ShardTask) -> ScoredShard:
    return scorer.score(task, scorer.decode(scorer.read(task)))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once warm. The work must wait for what it starts on a GPU."""
    work()
    started = perf_counter()
    work()
    return perf_counter() - started
