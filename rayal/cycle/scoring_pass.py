"""A scoring pass of a run, done by an engine to its end."""

from collections.abc import Callable, Sequence

from rayal.cycle.engine import Engine
from rayal.cycle.score import (
    ScoreJob,
    ShardTask,
    Tolerance,
    bad_images,
    pending,
    summary,
    tell_of_equals,
)
from rayal.runs.results import Scored
from rayal.storage.folder import Folder

Count = Callable[[int, int], None]
"""Who is told how many shards are done, and of how many."""


def scored(
    job: ScoreJob, tasks: Sequence[ShardTask], engine: Engine, max_bad: int, bad: int, count: Count
) -> Scored:
    """The result of the pass; shards that an earlier attempt left whole are not done again.

    `bad`: images left out of it that are known to be undecodable. Raises DataError once there are
    more than `max_bad`.
    """
    todo, results = pending(job, tasks)
    tolerance = Tolerance(max_bad, known=bad)
    tolerance.add(*results)
    count(len(results), len(tasks))
    for result in engine.score(job, todo):
        results.append(result)
        tolerance.add(result)
        count(len(results), len(tasks))
    tell_of_equals(results)
    found = dict(bad_images(Folder(job.out), results))
    return Scored(**dict(summary(job, tasks, results)), bad=found)
