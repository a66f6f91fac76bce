"""The worker of the scoring pass, apart from any engine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayal.cycle import shard_file
from rayal.cycle.first_choice import untrained
from rayal.cycle.score import ScoreJob, ShardTask
from rayal.cycle.scorer import Scorer
from rayal.experiment.experiment import Experiment
from rayal.storage.folder import Folder


def test_a_pass_of_another_strategy_kept_nothing_for_cod(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Somebody edits a run's file in the middle, so that COD chooses from then on: the last cycle's
    model is asked again for what that cycle's pass did not keep."""
    x, folder = tiny(strategy="cod"), Folder(tmp_path)
    store = x.dataset.open()
    shard = store.pool.shards(1)[0]
    task = ShardTask(shard, store.pool.ids_of(shard).to_pylist()[:40])
    before, now = (
        untrained(x.model_copy(update={"seed": seed}), store, folder / f"weights-{seed}")
        for seed in (0, 1)
    )

    def scores(earlier: str) -> NDArray[np.floating]:
        y = tiny(strategy=earlier)
        kept, out = folder / f"{earlier}-0", folder / f"{earlier}-1"
        first = ScoreJob.of(y, store, 0, before, kept.url)
        second = ScoreJob.of(x, store, 1, now, out.url, previous=before, previous_scores=kept.url)
        for job in (first, second):
            scorer = Scorer(job, "cpu")
            scorer.score(task, scorer.decode(scorer.read(task)))
        found: NDArray[np.floating] = shard_file.read_shard(out, task.file)["score.cod"].to_numpy()
        return found

    expected, found = scores("cod"), scores("margin")

    assert expected.std() > 0
    assert np.allclose(expected, found, rtol=0, atol=1e-3)
