"""What runs on a GPU, on one that is not there: see tests/support/fake_gpu.py.

Everything in the folders of strategies, signals, models, schemes and companions is tried, so that a
part that is added later is, too: nothing lies on the wrong device, and in a step nothing waits.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rayal.cycle.columns import Columns
from rayal.cycle.evaluate import EvaluateJob, Evaluation
from rayal.cycle.rounds import Worker
from rayal.cycle.scorer import Scorer
from rayal.cycle.train import TrainJob, _epoch, _feed, _learner
from rayal.data.card import ImageSpec
from rayal.data.store import Store
from rayal.data.tasks.classification import Classification
from rayal.models.base import Model
from rayal.models.companions.base import Companions, CompanionSpec
from rayal.models.network import computing
from rayal.models.trained_model import TrainedModel
from rayal.parts import build, find, names
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.signals.signal import SIGNALS, SignalName
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.testing import passes
from rayal.testing.bench import CLASSES, IMAGE, UNITS, Bench
from rayal.testing.fits import Drawn
from rayal.testing.model import image_for
from rayal.testing.trainings import experiment, training
from rayal.training.augment import Augment
from rayal.training.base import TrainingScheme
from rayal.training.fits.base import FitBatch, Fitting, Scene
from rayal.training.policy import OPERATIONS
from tests.models.architectures.test_contract import NARROW, PACKAGES
from tests.support.doubles import scheme_for, small_strategy, strategies_for
from tests.support.fake_gpu import FakeGpu, Waited, fake_gpu

GPU = Worker(device="cuda")
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "tod": [{"heads": 2, "use_labeled": True, "teacher": {"start": "random", "batch_norm": "own"}}],
    "isda": [{"covariance": "full"}],
    "uda": [
        {"average": {}, "annealing": "log", "mask": "tempered", "batch_norm": "separate"},
        {"strong": {"crop": 2, "padding": "reflect", "policy": "autoaugment"}},
    ],
    "ads": [{"heads": {"prototypes": 3}, "entropy": "bits", "optimizer_of_phases": "fresh"}],
    "supervised": [{"optimizer": "adam", "last_layer_lr": 10.0}],
}
"""Other ways of a scheme than its defaults, which are tried for all of them."""
AUGMENTED = {
    "flip": True,
    "crop": 2,
    "cutout": 3,
    "policy": "autoaugment",
    "learned_on": "imagenet",
}
CHANGES: dict[str, dict[str, Any]] = {
    "all": AUGMENTED,
    "randaugment": {"policy": "randaugment", "operations": 14, "magnitude": 12},
    "uda": {"policy": "uda", "crop": 2, "padding": "reflect"},
    "window": {"window": (8, 8), "scale": (0.75, 1.5), "flip": True, "cutout": 3},
    "turns": {"window": (8, 8), "mirror": True, "rotate": True},
}
DENSE = {"flip": True, "window": (16, 20), "scale": (0.75, 1.5), "cutout": 5}


def makes(name: str) -> bool:
    """Whether a strategy has something made after a training."""
    return bool(small_strategy(name).fits())


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    with fake_gpu() as gpu:
        yield gpu


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: float(x.sum()),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x[torch.arange(2)],
        lambda x: x.new_tensor([1.0]),
        lambda x: x + torch.zeros(3).to("cuda"),
        lambda x: x.copy_(torch.zeros(3)),
        lambda x: torch.bincount(x.long(), minlength=4),
        lambda x: x.index_put_((x > 0,), x),
        lambda x: torch.zeros(3).to("cuda", non_blocking=True),  # of memory that can move
    ],
)
def test_waiting_is_seen(gpu: FakeGpu, wait: Callable[[torch.Tensor], object]) -> None:
    """Everything below would pass, whatever it does."""
    with pytest.raises(Waited):
        wait(torch.empty(3, device="cuda"))


def test_another_device_is_seen(gpu: FakeGpu) -> None:
    """A tensor left on the CPU would be found by whoever has a GPU."""
    with pytest.raises(RuntimeError, match="same device"):
        torch.empty(3, device="cuda") + torch.zeros(3)
    with pytest.raises(RuntimeError, match="generator of the CPU"):
        torch.empty(3, device="cuda").uniform_(generator=torch.Generator())


def test_what_need_not_wait_passes(gpu: FakeGpu) -> None:
    """It would forbid what every step has to do."""
    x = torch.zeros(3).pin_memory().to("cuda", non_blocking=True)
    x[x > 0] = 1.0
    x[torch.arange(2, device="cuda")] += 1

    assert x.is_cuda
    assert 0 == gpu.reads
    assert [1, 1, 1] == x.cpu().tolist()
    assert 1 == gpu.reads


def asked_in() -> list[tuple[str, int]]:
    """Every strategy in cycle 1; in cycle 0 those that look at another model there."""
    named = [(name, small_strategy(name)) for name in strategies_for("classification")]
    others = [name for name, each in named if each.reference(0) != each.reference(1)]
    return [*((name, 1) for name, _ in named), *((name, 0) for name in others)]


@pytest.mark.parametrize(("name", "cycle"), asked_in())
def test_a_strategy_scores_images(gpu: FakeGpu, name: str, cycle: int) -> None:
    """A pass on a GPU would stop, or wait at every batch and not once a column."""
    strategy = small_strategy(name)
    with gpu.starting():
        bench = Bench.of(strategy, "cuda")
    columns = Columns({name: strategy}, Classification(), cycle, UNITS).computed(
        bench.ids, lambda rows, fill: bench.signals(range(UNITS), cycle=cycle)
    )

    assert {UNITS} == {len(values) for values in columns.values()}
    assert len(columns) == gpu.reads


def on_canvases() -> list[Any]:
    """Every strategy on images that are filled up, and one for each set of signals on others: what
    is left out of a map is the affair of signals."""
    named = strategies_for("segmentation")
    kinds = {small_strategy(name).signals(): name for name in named}
    filled = [pytest.param(name, (30, 40), id=f"{name} filled up") for name in named]
    return [*filled, *(pytest.param(n, None, id=f"{n} as they are") for n in kinds.values())]


@pytest.mark.parametrize(("name", "canvas"), on_canvases())
def test_a_strategy_scores_maps(
    gpu: FakeGpu, tmp_path: Path, name: str, canvas: tuple[int, int] | None
) -> None:
    """As above, for images whose every pixel is predicted, in the pass as it is."""
    job = passes.pass_of({name: build("strategies", name)}, Folder(tmp_path))
    decoded = passes.POOL.decoded(range(passes.UNITS))
    if canvas:
        decoded = passes.on_canvas(decoded, *canvas)
        image = job.card.image.model_copy(update={"height": canvas[0], "width": canvas[1]})
        job = replace(job, card=job.card.model_copy(update={"image": image}))
    with gpu.starting():
        scorer = Scorer(job, "cuda")
    columns = scorer.computed(decoded)

    assert all(len(values) == passes.UNITS for values in columns.values())
    assert len(columns) == gpu.reads


@pytest.mark.parametrize("name", sorted(SIGNALS.keys() - {"model", "companion", "embedding"}))
def test_a_signal_lies_on_the_gpu(gpu: FakeGpu, name: SignalName) -> None:
    """A strategy of somebody's own would find it beside signals of another device."""
    with gpu.starting():
        bench = Bench((), "cuda")
    signals = bench.signals(range(UNITS), cycle=1)
    if name == "grid_entropy":
        signals = _dense_signals(gpu)
    view = signals.declared_by("mine", frozenset(SIGNALS), "previous")
    value = getattr(view, name)
    value = value(2) if name == "mc_log_probs" else value

    assert all(part.is_cuda for part in (value if isinstance(value, tuple) else (value,)))
    assert 0 == gpu.reads


def _dense_signals(gpu: FakeGpu) -> Signals:
    there = build_on_gpu(gpu, passes.MODEL, passes.IMAGE).eval()
    images = torch.empty(2, *passes.IMAGE.shape, device="cuda")
    return Signals(["a", "b"], images, Networks(there))


def build_on_gpu(gpu: FakeGpu, model: Model, image: ImageSpec) -> torch.nn.Module:
    """Its network, made there: no number is drawn."""
    with gpu.starting(), torch.device("cuda"):
        return model.network(passes.CLASSES, image)


@pytest.mark.parametrize("name", names("models"))
def test_a_model_runs(gpu: FakeGpu, name: str) -> None:
    """A network that makes a tensor on the CPU, or asks for a number, would stop a training."""
    if name in PACKAGES:
        pytest.importorskip(name)
    if name == "transformers":
        pytest.skip("it builds its networks by numbers, which fake ones are not")
    model: Model = find("models", name).model_validate(NARROW.get(name, {}))
    image = image_for(model)
    assert image is not None
    network = build_on_gpu(gpu, model, image)
    images = torch.empty(4, *image.shape, device="cuda")
    for training_now in (True, False):
        network.train(training_now)
        with computing(images.device, "bf16"):
            outputs = network(images)

        assert all(each.is_cuda for each in (outputs.logits, outputs.features, *outputs.layers))
        assert outputs.logits.dtype == (torch.float32 if model.memorises else torch.bfloat16)
    assert 0 == gpu.reads


def cases() -> list[Any]:
    """Every scheme that trains, for each of its tasks, by defaults and in other ways, and all
    augmentations; the other ways with one of these."""
    found = []
    for name in names("schemes"):
        if find("schemes", name).memorises:
            continue
        for task in sorted(find("schemes", name).tasks):
            changes = {"window": DENSE} if task == "segmentation" else {"all": AUGMENTED}
            if name == "supervised" and task == "classification":
                changes = CHANGES
            ways = [(change, {}) for change in changes]
            ways += [(next(iter(changes)), options) for options in OPTIONS.get(name, [])]
            for change, options in ways:
                fields = {"name": name, "augment": changes[change], **options}
                found.append(pytest.param(task, fields, id=f"{name} {task} {change} {options}"))
    return found


def scheme_of(fields: dict[str, Any]) -> TrainingScheme:
    """A scheme of two short epochs, in bfloat16: what it casts is tried with it."""
    short = {"epochs": 2, "batch_size": 4, "precision": "bf16"}
    if "unlabeled_batch_size" in find("schemes", fields["name"]).model_fields:
        short["unlabeled_batch_size"] = 4
    made: TrainingScheme = build("schemes", {**short, **fields})
    return made


def trained(gpu: FakeGpu, job: TrainJob) -> dict[str, float]:
    """The row of the second epoch of a training, before which there may be phases."""
    with gpu.starting():
        store = Store(job.store)
        feed, learner = _feed(job, GPU, store), _learner(job, GPU, store)
    assert learner.optimizer.param_groups[0]["fused"]
    return _epoch(job, GPU, feed, learner, 1)


@pytest.mark.parametrize(("task", "fields"), cases())
def test_an_epoch_waits_once(
    gpu: FakeGpu, tmp_path: Path, task: str, fields: dict[str, Any]
) -> None:
    """A step that asks for a number, or copies what is not pinned, leaves a GPU idle at each."""
    x = experiment(task, scheme_of(fields))
    row = trained(gpu, training(x, str(tmp_path), cycle=1))

    assert {"loss", "accuracy"} <= row.keys()
    assert 1 == gpu.reads, "the row of the epoch, and nothing else"


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_an_epoch_of_images_on_disk_waits_once(gpu: FakeGpu, tmp_path: Path, task: str) -> None:
    """A set too large for the GPU would be copied batch by batch, each in its turn."""
    fields = {"name": "tod", "augment": DENSE if task == "segmentation" else AUGMENTED}
    x = experiment(task, scheme_of(fields), compute={"engine": "local", "resident_bytes": 0})
    trained(gpu, training(x, str(tmp_path), cycle=1))

    assert 1 == gpu.reads


@pytest.mark.parametrize(
    "name", [name for name in names("strategies") if build("strategies", name).companions()]
)
def test_companions_of_a_strategy_learn(gpu: FakeGpu, tmp_path: Path, name: str) -> None:
    """What a strategy puts beside the model would wait in every step of its trainings."""
    strategy = small_strategy(name)
    scheme = scheme_for(name)
    for task in sorted(strategy.tasks & find("schemes", scheme).tasks):
        augment = DENSE if task == "segmentation" else AUGMENTED
        fields = {"name": scheme, "augment": augment}
        x = experiment(task, scheme_of(fields), strategy=strategy)
        before = gpu.reads
        trained(gpu, training(x, str(tmp_path / task), cycle=1))

        assert 1 == gpu.reads - before


def begun(strategy: Strategy) -> list[tuple[Fitting, FitBatch | None]]:
    """What it has made after a training, before the first step, on a GPU; and what a step sees."""
    bench = Bench(strategy.companions(), "cuda")
    images = bench.images[:10]
    labels = torch.arange(10, device="cuda") % CLASSES
    companions, drawn = Companions(bench.companions), Drawn(images)
    scene = Scene(bench.networks[0], companions, drawn, drawn, steps=3)
    shown = FitBatch(images, labels, images)
    return [
        (
            fit.start(fit.build(scene.model, CLASSES, IMAGE).to("cuda"), scene),
            shown if fit.batches() else None,
        )
        for fit in strategy.fits()
    ]


@pytest.mark.parametrize("name", [name for name in names("strategies") if makes(name)])
def test_fits_of_a_strategy_learn(gpu: FakeGpu, name: str) -> None:
    """What a strategy has made after a training would wait in every step."""
    with gpu.starting():
        fittings = begun(small_strategy(name))
    before = gpu.reads
    for fitting, shown in fittings:
        for step in range(2):
            assert all(value.is_cuda for value in fitting.step(shown, step).values())

    assert gpu.reads == before


def test_every_companion_is_tried() -> None:
    """One that is added later, and that nothing above asks for, would never have been tried."""
    asked = {type(spec) for name in names("strategies") for spec in find_specs("strategies", name)}
    asked |= {type(spec) for name in names("schemes") for spec in find_specs("schemes", name)}
    known = {
        each
        for each in _subclasses(CompanionSpec)
        if each.__module__.startswith("rayal.") and "testing" not in each.__module__
    }

    assert known == asked


def find_specs(kind: str, name: str) -> Iterator[CompanionSpec]:
    for options in ({}, *(OPTIONS.get(name, []) if kind == "schemes" else [])):
        yield from build(kind, {"name": name, **options}).companions()


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def test_every_augmentation_is_tried() -> None:
    """A field that is added later would never have been tried on a GPU."""
    assert Augment.model_fields.keys() == set().union(*CHANGES.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_a_policy_does_not_wait(gpu: FakeGpu, name: str) -> None:
    """Chance decides which ones an epoch sees."""
    images = torch.empty(3, 3, 16, 20, dtype=torch.uint8, device="cuda")

    assert OPERATIONS[name](images, 0.7).is_cuda
    assert 0 == gpu.reads


@pytest.mark.parametrize(("task", "reads"), [("classification", 2), ("segmentation", 1)])
def test_a_shard_is_evaluated_in_one_go(
    gpu: FakeGpu, tmp_path: Path, task: str, reads: int
) -> None:
    """An evaluation would wait at every batch, or for every map: its counts come once, and so do
    the logits that calibration is measured by."""
    x = experiment(task)
    job = training(x, str(tmp_path))
    card = x.card_for(Store(job.store).card)
    weights = TrainedModel.of(card, card.untrained(0)).write(Folder(tmp_path))
    location = FileLocation(Folder(tmp_path).url, weights)
    evaluate = EvaluateJob(x, job.store, location)
    with gpu.starting():
        evaluation = Evaluation(evaluate, "cuda")
    evaluation.count(evaluate.shards()[0])

    assert reads == gpu.reads
