"""`rayal features`: vectors of a frozen network, by id, whole after any stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

import rayal
from rayal.cycle.candidates import left_out
from rayal.data.datasets.features import Features
from rayal.data.store import Store
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, LockedError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.runs.events import Observers
from rayal.storage.folder import Folder
from rayal.training.augment import normalise
from rayal.workflows.features import start_features
from rayal.workflows.features.settings import FeaturePass
from tests.support import scenes, untested
from tests.support.whole_runs import go

COMPUTE = {"engine": "local", "shard_rows": 256}
DIGITS = {"name": "digits", "limit_pool": 600, "limit_test": 100}
MODEL = {"name": "small_cnn", "width": 4}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network as a run leaves it, its weights random."""
    x = experiment(DIGITS, MODEL)
    store = x.dataset.open()
    card = ModelCard.of(x.model, store.card, "fp32", x.task)
    network = build(x.model, len(card.classes), card.image, seed=3)
    folder = Folder(tmp_path_factory.mktemp("weights"))
    TrainedModel.of(card, network).write(folder)
    return f"{folder.url}/weights.safetensors"


def experiment(dataset: Any, model: Any, **options: Any) -> Experiment:
    budget = {"initial": 20, "per_cycle": 10, "total": 40}
    fields = {"name": "x", "strategy": "margin", "tracking": "none", "budget": budget}
    scheme = {"epochs": 3, "lr": 0.05, "batch_size": 16}
    compute = {"engine": "local", "cpus_per_worker": 1}
    given = {**fields, "scheme": scheme, "compute": compute, **options}
    return Experiment(dataset=dataset, model=model, **given)


def settings(weights: str, **options: Any) -> FeaturePass:
    return FeaturePass(**{"dataset": DIGITS, "checkpoint": weights, "compute": COMPUTE, **options})


@contextmanager
def local(engine: type[LocalEngine] = LocalEngine) -> Iterator[LocalEngine]:
    yield engine(settings("/nowhere").compute.for_engine())


def made(x: FeaturePass, out: Path | str, engine: type[LocalEngine] = LocalEngine) -> Store:
    with start_features(x, str(out)) as work:
        work.run(lambda: local(engine), Observers([]))
    return Features(root=str(out)).open()


def vectors(split: Any) -> Any:
    return split.decode(split.take(split.ids())).images


def test_vectors_are_what_the_last_layer_reads(weights: str, tmp_path: Path) -> None:
    """A study would be one of other features, or give a unit those of another."""
    store, images = (
        made(settings(weights), tmp_path / "F"),
        experiment(DIGITS, MODEL).dataset.open(),
    )
    network = TrainedModel.parse(Path(weights).read_bytes(), weights).network().eval()

    for name in ("pool", "test"):
        ours, theirs = getattr(store, name), getattr(images, name)
        pixels = torch.from_numpy(theirs.decode(theirs.take(theirs.ids())).images)
        with torch.no_grad():
            wanted = network(normalise(pixels, images.card.image)).features.numpy()

        assert theirs.ids() == ours.ids()
        assert images.labels(name) == store.labels(name)
        np.testing.assert_allclose(vectors(ours), wanted.astype(np.float16), rtol=2e-3, atol=1e-3)
    pool = vectors(store.pool).astype(np.float64)
    np.testing.assert_allclose(store.card.image.mean, pool.mean(axis=0), rtol=1e-9, atol=1e-12)


class DiesOnce(LocalEngine):
    """Stops after the first shard."""

    def score(self, job: Any, tasks: Any) -> Iterator[Any]:
        yield next(super().score(job, tasks))
        raise KeyboardInterrupt


def test_a_stopped_pass_goes_on(weights: str, tmp_path: Path) -> None:
    """Hours of a GPU would be lost, or a vector be there twice."""
    with pytest.raises(KeyboardInterrupt):
        made(settings(weights), tmp_path / "F", DiesOnce)
    there = (tmp_path / "F" / "pool" / "shard-00000.parquet").stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        made(settings(weights), tmp_path / "F", DiesOnce)
    after = (tmp_path / "F" / "pool" / "shard-00000.parquet").stat().st_mtime_ns
    again, whole = made(settings(weights), tmp_path / "F"), made(settings(weights), tmp_path / "G")

    assert there == after
    assert whole.card == again.card  # with the sha256 of every file
    assert not (tmp_path / "F" / "pool").exists()


def test_another_pass_is_refused(weights: str, tmp_path: Path) -> None:
    """Two networks' features would lie in one folder."""
    made(settings(weights), tmp_path / "F")

    with pytest.raises(LockedError, match="batch"):
        made(settings(weights, batch=32), tmp_path / "F")
    made(settings(weights, compute={"engine": "local"} | COMPUTE), tmp_path / "F")  # complete


def test_random_weights_are_refused(weights: str, tmp_path: Path) -> None:
    """Features of chance look like features."""
    with pytest.raises(UsageError, match="features of random weights say nothing"):
        FeaturePass(dataset=DIGITS, model=MODEL)
    with pytest.raises(UsageError, match="both weights; give one"):
        FeaturePass(dataset=DIGITS, checkpoint=weights, model={**MODEL, "pretrained": weights})
    torch.save({}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match="does not say what it is"):
        made(settings(str(tmp_path / "a.pt")), tmp_path / "F")


def test_a_part_of_the_features(weights: str, tmp_path: Path) -> None:
    """A small study of a large file would need another pass."""
    store = made(settings(weights), tmp_path / "F")
    few = Features(root=str(tmp_path / "F"), limit_pool=50, limit_test=7).open()

    assert (50, 7) == (few.card.pool, few.card.test)
    assert store.pool.ids()[:50] == few.pool.ids()
    assert vectors(store.pool)[:50].tobytes() == vectors(few.pool).tobytes()


def test_a_run_on_features(weights: str, tmp_path: Path) -> None:
    """What strategies read has to be there of heads: logits, features, gradients."""
    made(settings(weights), tmp_path / "F")
    observers = ["badge", "core_set", "typiclust", "entropy_gradnorm", "expected_gradnorm", "epmcm"]
    dataset = {"name": "features", "root": str(tmp_path / "F")}
    x = experiment(dataset, "linear_head", observers=observers)
    pool = go(x, tmp_path / "run")

    assert 40 == len(pool.labels)
    assert {"margin", *observers} == {*x.scored()}


@pytest.mark.parametrize("change", ["flip", "mirror", "rotate", "crop", "cutout"])
def test_changes_of_pixels_are_refused(change: str, weights: str, tmp_path: Path) -> None:
    """A flip would exchange features with one another."""
    made(settings(weights), tmp_path / "F")
    value = True if change in ("flip", "mirror", "rotate") else 2
    scheme = {"epochs": 1, "augment": {change: value}}
    x = experiment({"name": "features", "root": str(tmp_path / "F")}, "linear_head", scheme=scheme)

    with pytest.raises(UsageError, match=f"{change} cannot change vectors of features"):
        go(x, tmp_path / "run")


def head(root: Any, **options: Any) -> Experiment:
    """A linear head on features; `options` with `dataset` are those of the experiment."""
    return experiment({"name": "features", "root": str(root)}, "linear_head", **options)


def test_a_stopped_pass_is_no_dataset_yet(weights: str, tmp_path: Path) -> None:
    """It would be taken for a folder of somebody's files, of which one is missing."""
    with pytest.raises(KeyboardInterrupt):
        made(settings(weights), tmp_path / "F", DiesOnce)
    with pytest.raises(DataError, match="is not finished; give its command again, which goes on"):
        Features(root=str(tmp_path / "F")).open()

    assert 600 == made(settings(weights), tmp_path / "F").card.pool


def test_a_folder_at_a_url(weights: str, tmp_path: Path) -> None:
    """What a cluster wrote into shared storage could not be trained on."""
    url = f"memory://{tmp_path.name}/F"
    there, here = made(settings(weights), url), made(settings(weights), tmp_path / "F")
    few = Features(root=url, limit_pool=50).open()
    same = Features(root=str(tmp_path / "F"), limit_pool=50).fingerprint()

    assert here.card == there.card and url in there.url
    assert vectors(here.pool).tobytes() == vectors(there.pool).tobytes()
    assert 50 == few.card.pool and same == few.card.fingerprint
    with pytest.raises(DataError, match="other files are read from a disk; copy them to one, or"):
        Features(root=f"{url}/store").open()
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize("labeled", [True, False])
def test_pools_without_labels_or_test_images(labeled: bool, weights: str, tmp_path: Path) -> None:
    """Where people label, neither may be there; a part of it would be a traceback."""
    images = untested.dataset(tmp_path / "images", labeled=labeled)
    store = made(settings(weights, dataset=images), tmp_path / "F")
    few = Features(root=str(tmp_path / "F"), limit_pool=30, mean=(0.0,) * 16, std=(1.0,) * 16)

    for card in (store.card, few.open().card):
        assert (labeled, False) == (card.labeled, card.tested)
    assert not few.tested and (30, 0) == (few.open().card.pool, few.open().card.test)
    assert few.open().labels("pool") == dict([*store.labels("pool").items()][:30])


def test_who_labels_features(weights: str, tmp_path: Path) -> None:
    """Each way out would name the other one, which is refused too."""
    images = untested.dataset(tmp_path / "images", labeled=False)
    made(settings(weights, dataset=images), tmp_path / "F")
    budget = {"initial": 10, "per_cycle": 10, "total": 20}
    for oracle in ("simulated", "people"):
        with pytest.raises(UsageError, match="(has no labels|of features .C.); ask with rayal.Act"):
            go(head(tmp_path / "F", oracle=oracle), tmp_path / "run")
    with rayal.ActiveLearner(head(tmp_path / "F", budget=budget), tmp_path / "learner") as learner:
        for _ in range(2):
            learner.tell(dict.fromkeys(learner.ask(10), "3"))
        learner.learn()
        assert [10, 20] == [*learner.curve()["labels"]]


def test_masks_are_refused(weights: str, tmp_path: Path) -> None:
    """Vectors would have masks for labels, found out by the first training."""
    scenes.write(tmp_path / "scenes")
    images = {"name": "camvid", "root": str(tmp_path / "scenes")}
    with pytest.raises(UsageError, match="has masks.*; give a dataset with a class for each image"):
        made(settings(weights, dataset=images), tmp_path / "F")

    assert 600 == made(settings(weights), tmp_path / "F").card.pool


def test_which_images_are_the_same_is_kept(weights: str, tmp_path: Path) -> None:
    """Guards would say that nobody knows, though the images were compared."""
    table = untested.dataset(tmp_path / "images")
    file = tmp_path / "images" / "pool.parquet"
    rows = pq.read_table(file)
    twice = rows.slice(0, 1).set_column(0, "id", pa.array(["again"]))
    pq.write_table(pa.concat_tables([rows, twice]), file)
    store = made(settings(weights, dataset=table), tmp_path / "F")
    x = head(tmp_path / "F", guards={"same_images": "leave_out"})

    assert (("again",),) == tuple(group[1:] for group in store.copies.groups)
    assert {"again"} == left_out(x, store)


def test_images_that_nobody_compared(weights: str, tmp_path: Path) -> None:
    """The way out would be an option that there is not."""
    store = made(settings(weights), tmp_path / "F")
    card = store.card.model_dump(mode="json")
    card["files"].pop("copies.parquet")
    Folder(store.url).write_sealed("card.json", {**card, "sizes": {}})
    store = Features(root=str(tmp_path / "F")).open()
    with pytest.raises(UsageError, match="behind these features; set guards to keep"):
        left_out(head(tmp_path / "F", guards={"same_images": "leave_out"}), store)

    assert frozenset() == left_out(head(tmp_path / "F"), store)
