"""The training at the end of a study on features, divided among the workers of Ray."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from rayal.engine.cluster import RayEngine
from rayal.experiment.experiment import Experiment
from rayal.runs.record import Record
from rayal.runs.results import Evaluated
from rayal.storage.folder import Folder
from rayal.workflows.run import start_run
from tests.support.frozen import DIGITS, NETWORK, SCHEME, look, study

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

LABELS = 12
COMPUTE = {
    "engine": "ray",
    "cpus_per_worker": 1,
    "train_workers": 2,
    "scorers": 1,
    "checkpoint_seconds": 0,
}


def go(x: Experiment, out: Path, engine: RayEngine) -> None:
    with start_run(x, str(out)) as opened:
        opened.run(lambda: nullcontext(engine))


@pytest.mark.timeout(900)  # 401 s were measured beside much other work
def test_several_workers_train_it_as_a_run_on_the_images(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Each worker would train a network of its own, or all of them on the same labels. A run of one
    cycle on the images draws the same first units and trains on them with as many workers."""
    looked = look(tmp_path / "looked", tiny)
    once = {"initial": LABELS, "per_cycle": 1, "total": LABELS}
    tune = {"scheme": SCHEME, "model": NETWORK}
    fields = {"budget": once, "compute": COMPUTE}
    frozen = study(tiny, looked.root, fine_tune=tune, **fields)
    images = tiny(dataset=DIGITS, model=NETWORK, strategy="margin", scheme=SCHEME, **fields)
    with closing(RayEngine(images.compute, cores=2)) as engine:
        go(frozen, tmp_path / "frozen", engine)
        go(images, tmp_path / "images", engine)
    (found,) = Record(Folder(tmp_path / "frozen")).fine_tuned().values()
    own = Record(Folder(tmp_path / "images")).result(0, Evaluated)
    assert own is not None

    stage, train = (tmp_path / "frozen/cycle-000/fine_tune", tmp_path / "images/cycle-000/train")
    name = "weights.safetensors"
    assert (train / name).read_bytes() == (stage / name).read_bytes()
    assert (own.metrics, LABELS) == (found.metrics, found.labels)
