"""Methods that train something of their own: however many processes score, all choose the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rayal.cycle import shard_file
from rayal.cycle.loop import run
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.scorer import Scorer
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import Ledger
from rayal.runs.passes import ScoredShard
from rayal.runs.results import Chosen, Scored
from rayal.storage.folder import Folder
from tests.support.doubles import SMALL_FIT, Silent

READS = {"detach_after": 0, "width": 8}
"""A loss head that changes no training, so that its strategy may watch."""
GRAPH = {"updates": 10}
METHODS: dict[str, dict[str, Any]] = {
    "fitted": {
        "strategy": {"name": "core_gcn", "graph": GRAPH},
        "observers": [
            {"name": "uncertain_gcn", "graph": GRAPH},
            {"name": "vaal", "vaal": SMALL_FIT},
            {"name": "sraal", "sraal": SMALL_FIT},
            {"name": "ll4al", "loss_head": READS},
            {"name": "ta_vaal", "ranker": {"objective": "hinge", **READS}, "ta_vaal": SMALL_FIT},
        ],
    },
    "ads": {
        "strategy": "ads",
        "scheme": {"name": "ads", "epochs": 2, "batch_size": 16, "lr": 0.05},
    },
}
Found = tuple[list[str], dict[str, Any]]


class Divided(LocalEngine):
    """Shards in turn to so many scorers, of which the last begins: each opens what it asks."""

    def __init__(self, x: Experiment, scorers: int) -> None:
        super().__init__(x.compute)
        self.scorers = scorers

    def score(self, job: ScoreJob, tasks: Sequence[ShardTask]) -> Iterator[ScoredShard]:
        opened = [Scorer(job, self.device) for _ in range(self.scorers)]
        for number, task in reversed([*enumerate(tasks)]):
            scorer = opened[number % self.scorers]
            yield scorer.score(task, scorer.decode(scorer.read(task)))


def experiment(tiny: Callable[..., Experiment], methods: str, **compute: Any) -> Experiment:
    """Two cycles on 600 digits, which are three shards."""
    return tiny(
        budget={"initial": 20, "per_cycle": 20, "total": 40},
        compute={"cpus_per_worker": 1, "shard_rows": 256, "score_batch": 32, **compute},
        **METHODS[methods],
    )


def first_cycle(x: Experiment, engine: Any, folder: Path) -> Found:
    """What it chose, and of every strategy the scores of all units, by id."""
    with Ledger(Folder(folder), x.identity()) as ledger, closing(engine):
        run(x, x.dataset.open(), ledger, engine, Silent())
        scored, chosen = ledger.result(0, Scored), ledger.result(0, Chosen)
        assert scored is not None and chosen is not None
        names = [f"score.{each.part_name()}" for each in (x.strategy, *x.observers)]
        wanted = [name for name in names if name != "score.core_gcn"]  # which has none
        shards = [*shard_file.shards(ledger.stage(0, "score"), scored, ["id", *wanted])]
    assert 3 == len(shards)
    rows = [row for shard in shards for row in shard.to_pylist()]
    return list(chosen.ids), {row.pop("id"): row for row in rows}


@pytest.fixture(scope="module")
def alone() -> dict[str, Found]:
    """What one process finds, by methods, once it was asked."""
    return {}


@pytest.fixture(params=METHODS)
def expected(
    request: pytest.FixtureRequest,
    tiny: Callable[..., Experiment],
    alone: dict[str, Found],
    tmp_path: Path,
) -> tuple[str, Found]:
    methods = request.param
    if methods not in alone:
        x = experiment(tiny, methods, engine="local")
        alone[methods] = first_cycle(x, LocalEngine(x.compute), tmp_path / "alone")
    return methods, alone[methods]


def test_any_number_of_scorers_chooses_the_same(
    tiny: Callable[..., Experiment], tmp_path: Path, expected: tuple[str, Found]
) -> None:
    """A cluster that grows would label other images: a companion would be another on each process,
    or scores depend on what was scored before."""
    methods, found = expected
    ids, scores = found

    assert 20 == len(ids) and 580 <= len(scores)  # core_gcn looks at labeled ones too
    for scorers in (2, 3):
        x = experiment(tiny, methods, engine="local")
        assert found == first_cycle(x, Divided(x, scorers), tmp_path / f"{scorers}")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("scorers", [1, 2, 3])
def test_any_number_of_actors_chooses_the_same(
    tiny: Callable[..., Experiment], tmp_path: Path, expected: tuple[str, Found], scorers: int
) -> None:
    """The same on Ray, which trains and fits in processes of its own, too."""
    methods, found = expected
    x = experiment(tiny, methods, engine="ray", scorers=scorers)

    assert found == first_cycle(x, RayEngine(x.compute, cores=8), tmp_path / "ray")
