"""Segmentation on Ray: masks reach the workers, and their number chooses nothing."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rayal.cycle.loop import run
from rayal.data import prepare
from rayal.engine.cluster import RayEngine
from rayal.engine.local import LocalEngine
from rayal.experiment.experiment import Experiment
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support import scenes
from tests.support.doubles import Silent

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

CLICKS = {
    "oracle": {"name": "clicks", "tolerance": 3},
    "budget": {"initial": 100, "per_cycle": 60, "total": 160, "unit": "clicks"},
}
SAMPLES = {"budget": {"initial": 4, "per_cycle": 6, "total": 10}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """24 scenes in row groups of 4, so that shards can be small."""
    root = tmp_path_factory.mktemp("scenes")
    found = {"name": "camvid", "root": str(scenes.write(root)), "store": str(root / "stores")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "GROUP_ROWS", 4)
        experiment(found, "local").dataset.open()
    return found


def experiment(dataset: dict[str, Any], engine: str, **fields: Any) -> Experiment:
    scorers = fields.pop("scorers", 1)
    return Experiment.model_validate(
        {
            "name": "dense",
            "dataset": dataset,
            "task": "segmentation",
            "model": {"name": "small_segmenter", "width": 4, "dropout": 0.3},
            "scheme": {
                "name": "isda",
                **{"steps": 6, "batch_size": 4, "lr": 0.05, "ramp": "step"},
                "augment": {"flip": True, "window": [20, 28], "scale": [0.75, 1.5]},
            },
            "strategy": "entropy",
            "compute": {
                "engine": engine,
                **{"cpus_per_worker": 1, "scorers": scorers, "score_batch": 4, "shard_rows": 4},
            },
            "tracking": "none",
            **SAMPLES,
            **fields,
        }
    )


def finish(x: Experiment, engine: Any, folder: Path) -> tuple[list[str], bytes]:
    """All units in order of purchase, and the last weights."""
    with Ledger(Folder(folder), x.identity()) as ledger, closing(engine):
        pool = run(x, x.dataset.open(), ledger, engine, Silent())
        weights = ledger.stage(pool.cycle, "train").read("weights.safetensors")
    return list(pool.labels), weights


@pytest.mark.parametrize(
    ("fields", "actors"),
    [
        ({"strategy": "random_image_entropy_polygon", **CLICKS}, (1, 2, 3)),
        (
            {"strategy": "epmcm", "observers": ["entropy_gradnorm", "bald", "cod", "core_set"]},
            (2,),
        ),
        ({"strategy": "qbc", "ensemble": 2, **CLICKS}, (3,)),
    ],
    ids=["polygons", "epmcm", "qbc"],
)
def test_any_number_of_actors_chooses_the_same(dataset, tmp_path, fields, actors):
    """Another cluster would label other images or regions, and train another model."""
    local = experiment(dataset, "local", **fields)
    expected = finish(local, LocalEngine(local.compute), tmp_path / "local")
    shards = [*(tmp_path / "local/cycle-000/score").glob("shard-*.parquet")]

    assert len(shards) > 3
    for scorers in actors:
        x = experiment(dataset, "ray", scorers=scorers, **fields)
        found = finish(x, RayEngine(x.compute, cores=8), tmp_path / f"{scorers}")
        assert expected == found
