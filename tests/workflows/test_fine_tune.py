"""After the last cycle of a run a whole network is trained once on the labels that it bought."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image

import rayal
from rayal.errors import LockedError, UsageError
from rayal.experiment.experiment import Experiment
from rayal.experiment.fine_tune import FineTune
from rayal.models.card import ModelCard
from rayal.report.shown import text
from rayal.runs.record import Record
from rayal.runs.results import Chosen, Evaluated, FineTuned
from rayal.storage.folder import Folder
from rayal.workflows.fine_tune import opened
from rayal.workflows.run import start_run
from tests.support import untested
from tests.support.frozen import COMPUTE, DIGITS, NETWORK, SCHEME, Looked, look, study
from tests.support.whole_runs import At, Interrupted, files_of, go, outcome, short

OTHER = {"name": "digits", "limit_pool": 90, "limit_test": 30}


@pytest.fixture(scope="module")
def looked(tiny: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory) -> Looked:
    return look(tmp_path_factory.mktemp("looked"), tiny)


@pytest.fixture(scope="module")
def done(
    tiny: Callable[..., Experiment], looked: Looked, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A complete study with its network."""
    out = tmp_path_factory.mktemp("done") / "run"
    go(study(tiny, looked.root), out)
    return out


def weights(file: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(file.read_bytes())


def tuned(out: Path) -> FineTuned:
    found = Record(Folder(out)).fine_tuned()
    return found[max(found)]


def test_it_is_the_training_of_a_run_on_the_images(
    tiny: Callable[..., Experiment], looked: Looked, tmp_path: Path
) -> None:
    """The figure of other labels, images, or another training would stand in the report. A run of
    one cycle on the images draws the same first units, and trains the same network on them."""
    once = {"initial": 12, "per_cycle": 1, "total": 12}
    settings = {"scheme": SCHEME, "budget": once}
    go(
        study(tiny, looked.root, budget=once, fine_tune={"scheme": SCHEME, "model": NETWORK}),
        tmp_path / "frozen",
    )
    images = short(tiny, dataset=DIGITS, model=NETWORK, strategy="margin", **settings)
    go(images, tmp_path / "images")
    found, own = tuned(tmp_path / "frozen"), Record(Folder(tmp_path / "images"))

    stage, train = (tmp_path / "frozen/cycle-000/fine_tune", tmp_path / "images/cycle-000/train")
    name = "weights.safetensors"
    assert (train / name).read_bytes() == (stage / name).read_bytes()
    evaluated = own.result(0, Evaluated)
    assert evaluated is not None
    assert (evaluated.metrics, 12) == (found.metrics, found.labels)
    assert images.dataset.fingerprint() == found.data


def test_it_begins_with_the_network_that_looked(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Another backbone, or its last layer, which has seen other labels, would be trained; or images
    would be normalised otherwise than those that it was trained on."""
    looked = look(tmp_path, tiny, mean=(0.4,), std=(0.2,))
    still = {**SCHEME, "epochs": 1, "lr": 1e-12}
    go(study(tiny, looked.root, fine_tune={"scheme": still}), tmp_path / "run")
    file = tmp_path / "run/cycle-001/fine_tune/weights.safetensors"
    begun, ended = weights(Path(looked.weights)), weights(file)
    names = [name for name in begun if name.endswith("weight") and "classifier" not in name]
    card = ModelCard.parse(file.read_bytes(), "it")

    assert names and all(torch.allclose(begun[n], ended[n], atol=1e-6) for n in names)
    assert not torch.allclose(begun["classifier.weight"], ended["classifier.weight"], atol=1e-3)
    assert card is not None
    assert ((0.4,), (0.2,)) == (card.image.mean, card.image.std)
    assert not (file.parent / "begin.safetensors").exists()


def test_nothing_that_is_chosen_depends_on_it(
    tiny: Callable[..., Experiment], looked: Looked, done: Path, tmp_path: Path
) -> None:
    """Adding it to a complete study, as one does when that looked well, would be another study; or
    all would be computed again."""
    plain = study(tiny, looked.root, fine_tune=None)
    go(plain, tmp_path / "run")
    alone, before = outcome(tmp_path / "run"), files_of(tmp_path / "run")
    first = rayal.open_run(tmp_path / "run")
    assert first.complete and first.fine_tuned is None
    go(study(tiny, looked.root), tmp_path / "run")
    after = files_of(tmp_path / "run")

    assert alone == outcome(tmp_path / "run") == outcome(done)
    assert {n for n in before if n.startswith("cycle-") and before[n] != after[n]} == set()
    name = "cycle-001/fine_tune/weights.safetensors"
    assert (done / name).read_bytes() == after[name]
    assert Record(Folder(tmp_path / "run")).complete


def test_another_machine_may_train_it(
    tiny: Callable[..., Experiment],
    looked: Looked,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A study of a laptop could not be finished where the GPU is: with other threads, or another
    device, units would be chosen by other last bits, and here none are chosen any more."""
    go(study(tiny, looked.root, fine_tune=None), tmp_path / "run")
    go(study(tiny, looked.root, compute={**COMPUTE, "cpus_per_worker": 2}), tmp_path / "run")

    assert 20 == tuned(tmp_path / "run").labels
    assert "goes on with something else" in caplog.text
    more = {"initial": 10, "per_cycle": 10, "total": 30}
    with pytest.raises(LockedError, match="the last bits differ"):
        go(study(tiny, looked.root, budget=more), tmp_path / "run")


@pytest.mark.parametrize(
    "point",
    ["cycle-001/fine_tune/checkpoint-000002.json", "cycle-001/fine_tune/trained.json"],
)
def test_killed_inside_it_goes_on(
    point: str,
    tiny: Callable[..., Experiment],
    looked: Looked,
    done: Path,
    process: Any,
    tmp_path: Path,
) -> None:
    """Hours of a GPU would be lost, or the network be another one than without the kill."""
    x, out = study(tiny, looked.root), tmp_path / "run"
    assert -signal.SIGKILL == process(x, out, point).returncode
    record = Record(Folder(out))
    assert record.whole and not record.complete and (1, "fine_tune") == record.stage_now()
    there = (out / "cycle-001/fine_tune/trained.json").exists()
    stages: list[str] = []
    go(x, out, At(1, "fine_tune", lambda: stages.append("once")))

    assert ["once"] == stages
    name = "cycle-001/fine_tune/weights.safetensors"
    assert (done / name).read_bytes() == (out / name).read_bytes()
    assert tuned(done).metrics == tuned(out).metrics
    assert there or 3 == len(Record(Folder(out)).fine_tuned_epochs(1))


def test_a_larger_budget_trains_it_again(
    tiny: Callable[..., Experiment], looked: Looked, done: Path, tmp_path: Path
) -> None:
    """The figure at the old end would stand at the new one; and the old one be lost."""
    out = Path(shutil.copytree(done, tmp_path / "run"))
    more = {"initial": 10, "per_cycle": 10, "total": 30}
    go(study(tiny, looked.root, budget=more), out)
    found = Record(Folder(out)).fine_tuned()

    assert {1: 20, 2: 30} == {cycle: each.labels for cycle, each in found.items()}
    assert 30 == rayal.open_run(out).fine_tuned.labels  # type: ignore[union-attr]
    column = rayal.open_run(out).curve()["fine_tuned_accuracy"]
    assert [found[1].metrics["accuracy"], found[2].metrics["accuracy"]] == column[1:].tolist()
    assert np.isnan(column[0])


def test_it_may_be_another_until_it_has_begun(
    tiny: Callable[..., Experiment], looked: Looked, done: Path, tmp_path: Path
) -> None:
    """A study of days would be bound to a training that nobody has tried yet; or one begun with
    these settings would go on with those."""
    out, longer = tmp_path / "run", {**SCHEME, "epochs": 4}
    with pytest.raises(Interrupted):
        go(study(tiny, looked.root), out, At(1, "train"))
    go(study(tiny, looked.root, fine_tune={"scheme": longer}), out)

    assert 4 == tuned(out).trained.epochs
    with pytest.raises(LockedError, match=r"fine_tune\.scheme\.epochs: 4 -> 3"):
        go(study(tiny, looked.root), out)
    with pytest.raises(LockedError, match="fine_tune"):
        go(study(tiny, looked.root, fine_tune=None), out)
    shutil.rmtree(out / "cycle-001/fine_tune")
    go(study(tiny, looked.root), out)
    assert 3 == tuned(out).trained.epochs


def test_other_images_are_refused(
    tiny: Callable[..., Experiment], looked: Looked, tmp_path: Path
) -> None:
    """Labels would be trained with the images of other units."""
    root = Path(shutil.copytree(looked.root, tmp_path / "F"))
    folder = Folder(root)
    folder.write_sealed("features.json", {**folder.read_sealed("features.json"), "data": "0" * 64})
    with pytest.raises(UsageError, match="was made of other images than 'digits' has now"):
        go(study(tiny, root), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    go(study(tiny, root, fine_tune={"scheme": SCHEME, "dataset": DIGITS}), tmp_path / "run")


def files(root: Path, labels: Callable[[int], int], rows: int = 40) -> dict[str, Any]:
    """Vectors of somebody, under ids of digits."""
    rng = np.random.default_rng(0)
    root.mkdir()
    for name, count in (("pool", rows), ("test", 30)):
        store = Experiment.model_validate(
            {"name": "x", "dataset": DIGITS, "model": NETWORK, "strategy": "random"}
        ).dataset.open()
        ids = getattr(store, name).ids()[:count]
        known = store.labels(name)  # type: ignore[arg-type]
        label = np.array([labels(int(known[unit])) for unit in ids])
        features = rng.normal(size=(len(ids), 3)) + label[:, None]
        np.savez(root / f"{name}.npz", id=np.array(ids), features=features, label=label)
    classes = [str(digit) for digit in range(10)]
    return {"pool": "pool.npz", "test": "test.npz", "classes": classes, "store": str(root)}


def test_features_of_others_name_neither_images_nor_network(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """A study on anybody's vectors could not be finished by the network that is deployed."""
    given = files(tmp_path / "V", lambda label: label)
    with pytest.raises(UsageError) as error:
        go(study(tiny, tmp_path / "V", dataset=given), tmp_path / "run")
    assert "fine_tune.dataset: the vectors in" in str(error.value)
    assert "fine_tune.model: the vectors in" in str(error.value)

    whole = {"scheme": SCHEME, "dataset": DIGITS, "model": NETWORK}
    go(study(tiny, tmp_path / "V", dataset=given, fine_tune=whole), tmp_path / "run")
    assert 20 == tuned(tmp_path / "run").labels


@pytest.mark.parametrize(
    ("dataset", "label", "why"),
    [
        ({"limit_pool": 20}, 0, "20 units of the run's pool, the first .* are not in it"),
        ({"limit_test": 7}, 0, "its 7 test images are not those .* measured on .30."),
        ({}, 1, "is '.' there and '.' in the run, as if its ids were of other images"),
    ],
)
def test_images_of_other_units_are_refused(
    dataset: Any, label: int, why: str, tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """Two figures that cannot be compared would stand side by side."""
    given = files(tmp_path / "V", lambda known: (known + label) % 10)
    whole = {"scheme": SCHEME, "dataset": {**DIGITS, **dataset}, "model": NETWORK}
    with pytest.raises(UsageError, match=f"fine_tune.dataset: .*{why}"):
        go(study(tiny, tmp_path / "V", dataset=given, fine_tune=whole), tmp_path / "run")
    if label:
        given = files(tmp_path / "W", lambda known: known)
    right = {**whole, "dataset": DIGITS}
    x = study(tiny, Path(given["store"]), dataset=given, fine_tune=right)
    assert opened(x, x.dataset.open()) is not None


def photos(root: Path) -> dict[str, Any]:
    """Digits as files of their own, whose addresses are in a table."""
    x = Experiment.model_validate(
        {"name": "x", "dataset": DIGITS, "model": NETWORK, "strategy": "random"}
    )
    store = x.dataset.open()
    for name, split in (("pool", store.pool), ("test", store.test)):
        ids, labels = split.ids(), store.labels(name)  # type: ignore[arg-type]
        pixels = split.decode(split.take(ids)).images[:, 0]
        places = [root / f"{unit.replace('/', '-')}.png" for unit in ids]
        root.mkdir(exist_ok=True)
        for place, image in zip(places, pixels, strict=True):
            Image.fromarray(image).save(place)
        table = {"id": ids, "image": [*map(str, places)], "label": [labels[unit] for unit in ids]}
        pq.write_table(pa.table(table), root / f"{name}.parquet")
    names = {"id": "id", "image": "image", "label": "label", "channels": 1, "encoding": "uri"}
    files = {"pool": ["pool.parquet"], "test": ["test.parquet"], "store": str(root / "stores")}
    classes = [str(digit) for digit in range(10)]
    return {"name": "parquet", "root": str(root), "classes": classes, **names, **files}


def test_images_that_cannot_be_read_are_told_before(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The study would end where its storage is not mounted, or at a broken file."""
    given, images = files(tmp_path / "V", lambda label: label), photos(tmp_path / "photos")
    whole = {"scheme": SCHEME, "dataset": images, "model": NETWORK}
    x = study(tiny, tmp_path / "V", dataset=given, fine_tune=whole)
    store = x.dataset.open()
    assert opened(x, store) is not None
    (tmp_path / "photos").rename(tmp_path / "gone")
    (tmp_path / "photos").mkdir()
    for name in ("pool.parquet", "test.parquet", "stores"):
        (tmp_path / "gone" / name).rename(tmp_path / "photos" / name)
    with pytest.raises(UsageError, match="fine_tune.dataset: .* cannot be read: .*; mount its"):
        opened(x, store)
    for file in (tmp_path / "gone").iterdir():
        file.rename(tmp_path / "photos" / file.name)
    assert opened(x, store) is not None

    first = next((tmp_path / "photos").glob("*-0*.png"), None) or next(
        (tmp_path / "photos").glob("*.png")
    )
    mended = first.read_bytes()
    first.write_bytes(mended[:40])
    shutil.rmtree(tmp_path / "photos/stores")
    with pytest.raises(UsageError, match="1 image cannot be decoded, the first .*; mend what"):
        opened(x, store)
    first.write_bytes(mended)
    shutil.rmtree(tmp_path / "photos/stores")
    assert opened(x, store) is not None


def test_other_classes_are_refused(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    """A label would be another class in the network than in the run."""
    given = files(tmp_path / "V", lambda label: label) | {"classes": [f"n{n}" for n in range(10)]}
    whole = {"scheme": SCHEME, "dataset": DIGITS, "model": NETWORK}
    x = study(tiny, tmp_path / "V", dataset=given, fine_tune=whole)
    with pytest.raises(UsageError, match="its classes are .*; give images with the same classes"):
        opened(x, x.dataset.open())
    right = {**given, "classes": [str(n) for n in range(10)]}
    x = study(tiny, tmp_path / "V", dataset=right, fine_tune=whole)
    assert opened(x, x.dataset.open()) is not None


def test_without_test_images_nothing_tells_what_it_is_worth(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """The one figure that it is for would be missing after all the work."""
    fine_tune = {"scheme": SCHEME, "model": NETWORK}
    x = short(tiny, dataset=untested.dataset(tmp_path), fine_tune=fine_tune)
    with pytest.raises(UsageError, match="fine_tune: 'parquet' has no test images"):
        opened(x, x.dataset.open())
    plain = x.model_copy(update={"fine_tune": None})
    assert opened(plain, plain.dataset.open()) is None


def test_a_small_study_measures_both_on_the_same_images(
    tiny: Callable[..., Experiment], looked: Looked
) -> None:
    """The head would be measured on 7 test images and the network on all."""
    x = study(tiny, looked.root, dataset={"limit_pool": 40, "limit_test": 7})
    store = x.dataset.open()
    found = opened(x, store)

    assert found is not None
    assert store.test.ids() == found.store.test.ids()
    assert store.pool.ids() == found.store.pool.ids()


def test_a_small_network_chooses_for_a_large_one(
    tiny: Callable[..., Experiment], tmp_path: Path
) -> None:
    """On images a proxy could not choose for the network that is deployed."""
    x = short(
        tiny,
        dataset=DIGITS,
        model={"name": "small_cnn", "width": 2},
        strategy="margin",
        scheme=SCHEME,
        budget={"initial": 10, "per_cycle": 10, "total": 20},
        fine_tune={"scheme": SCHEME, "model": NETWORK},
    )
    go(x, tmp_path / "run")
    network = rayal.open_run(tmp_path / "run").model(fine_tuned=True)
    own = rayal.open_run(tmp_path / "run").model()

    sizes = [sum(p.numel() for p in each.parameters()) for each in (own, network)]
    assert sizes[0] < sizes[1]
    with pytest.raises(UsageError, match=r"fine_tune\.model: 'small_cnn' is trained on these"):
        go(x.model_copy(update={"fine_tune": FineTune()}), tmp_path / "b")


def test_what_cannot_be_trained_is_told_at_once(
    tiny: Callable[..., Experiment], looked: Looked, tmp_path: Path
) -> None:
    """The last hour of a study would end in an error that its first second could have told."""
    turned = {**SCHEME, "augment": {"rotate": True, "window": [4, 8]}}
    with pytest.raises(UsageError, match=r"fine_tune\.scheme\.augment\.rotate needs equal sides"):
        go(study(tiny, looked.root, fine_tune={"scheme": turned}), tmp_path / "run")
    with pytest.raises(UsageError, match=r"fine_tune\.model .*takes vectors of features"):
        head = {"scheme": SCHEME, "model": "linear_head"}
        go(study(tiny, looked.root, fine_tune=head), tmp_path / "run")
    with pytest.raises(UsageError, match="fine_tune: an ActiveLearner may be asked for more"):
        x = study(tiny, looked.root, oracle="told", budget={})
        with start_run(x, str(tmp_path / "run"), asked=True):
            pass
    plain = study(tiny, looked.root, oracle="told", budget={}, fine_tune=None)
    with start_run(plain, str(tmp_path / "asked"), asked=True):
        pass
    assert not (tmp_path / "run").exists()


def test_people_see_it(done: Path) -> None:
    """The figure would be in a file that nobody opens."""
    run, record = rayal.open_run(done), Record(Folder(done))
    found = run.fine_tuned
    assert found is not None
    value = found.metrics["accuracy"]
    (row,) = rayal.status(done).rows

    assert value == row["fine_tuned"] == record.cycles()[-1]["fine_tuned_accuracy"]
    assert f"fine-tuned {value:.4f}" in repr(run)
    line = f"fine-tuned: 20 labels, accuracy {value:.4f}"
    assert line in " ".join(text(run.to_rich()).split())
    assert f"{value:.4f}" in text(rayal.status(done).to_rich())
    last = json.loads((done / "metrics.jsonl").read_text().splitlines()[-1])
    assert value == last["fine_tuned_accuracy"]
    assert run.chosen(0) == list(record.result(0, Chosen).ids)  # type: ignore[union-attr]


def test_it_goes_with_the_weights(
    tiny: Callable[..., Experiment], looked: Looked, tmp_path: Path
) -> None:
    """Gigabytes would stay where none was to stay, or the network go that all was done for."""
    name = "cycle-001/fine_tune/weights.safetensors"
    for kept in ("last", "none"):
        go(study(tiny, looked.root, keep={"weights": kept}), tmp_path / kept)
        assert (kept == "last") == (tmp_path / kept / name).exists()
        assert Record(Folder(tmp_path / kept)).complete
        assert tuned(tmp_path / kept).labels == 20


def test_after_the_images_are_gone_a_complete_run_is_complete(
    tiny: Callable[..., Experiment], looked: Looked, done: Path, tmp_path: Path
) -> None:
    """Its own command would fail although nothing is left to do."""
    root = Path(shutil.copytree(looked.root, tmp_path / "F"))
    (root / "features.yaml").write_text(
        (root / "features.yaml").read_text().replace("name: digits", "name: cifar10")
    )
    with start_run(study(tiny, root), str(shutil.copytree(done, tmp_path / "run"))) as run:
        assert run.complete
    with pytest.raises(UsageError, match="cannot be read .*give them in fine_tune.dataset, where"):
        go(study(tiny, root), tmp_path / "new")
    whole = {"scheme": SCHEME, "dataset": DIGITS}
    go(study(tiny, root, fine_tune=whole), tmp_path / "new")
    assert tuned(tmp_path / "new").metrics == tuned(done).metrics
