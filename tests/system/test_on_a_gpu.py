"""What only a GPU can show: numbers, backward passes, streams, compiled code. `make test-gpu`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayal.cycle.columns import Columns
from rayal.cycle.evaluate import EvaluateJob, Evaluation
from rayal.cycle.rounds import Worker
from rayal.cycle.train import TrainJob, _feed, _learner, _noted, train
from rayal.data.store import Store
from rayal.data.tasks.classification import Classification
from rayal.models.network import placed
from rayal.models.trained_model import TrainedModel
from rayal.parts import build, names
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from rayal.strategies.base import Strategy
from rayal.testing.bench import UNITS, Bench
from rayal.testing.trainings import experiment, training
from rayal.training.augment import Augment
from rayal.training.policy import OPERATIONS
from rayal.training.schemes.tod import Tod
from rayal.training.schemes.uda import Uda
from tests.support.doubles import small_strategy, strategies_for
from tests.system.test_without_a_gpu import begun, cases, makes, scheme_of

pytestmark = pytest.mark.gpu
GPU = Worker(device="cuda")


@pytest.fixture(autouse=True)
def _there() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("task", "fields"), cases())
def test_a_step_does_not_wait(tmp_path: Path, task: str, fields: dict[str, Any]) -> None:
    """Backward passes and optimizers may wait where the forward passes do not."""
    job = training(experiment(task, scheme_of(fields)), str(tmp_path), cycle=1)

    assert steps_without_waiting(job, "loss").isfinite().all()


def steps_without_waiting(job: TrainJob, name: str) -> Tensor:
    """What the steps of a second epoch note, none of which may wait."""
    store = Store(job.store)
    feed, learner = _feed(job, GPU, store), _learner(job, GPU, store)
    for batch in feed.epoch(0):  # what is made once may wait
        _noted(learner, batch)
    torch.cuda.synchronize()
    with waiting_is_an_error():
        return torch.stack([_noted(learner, batch)[name] for batch in feed.epoch(1)])


@pytest.mark.parametrize("objective", ["hinge", "logistic"])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_step_that_ranks_losses_does_not_wait(tmp_path: Path, task: str, objective: str) -> None:
    """What a strategy trains beside the model would leave the GPU idle at each step."""
    head = {"objective": objective, "detach_after": 0.75}
    strategy: Strategy = build("strategies", {"name": "ll4al", "loss_head": head})
    x = experiment(task, scheme_of({"name": "supervised"}), strategy=strategy)
    losses = steps_without_waiting(training(x, str(tmp_path), cycle=1), "loss_head_loss")

    assert losses.isfinite().all() and (losses > 0).any()


@pytest.mark.parametrize("name", [name for name in names("strategies") if makes(name)])
def test_a_step_of_a_fit_does_not_wait(name: str) -> None:
    """A fit takes thousands of steps, and a GPU would be idle in each."""
    for fitting, shown in begun(small_strategy(name)):
        fitting.step(shown, 0)  # what is made once may wait
        torch.cuda.synchronize()
        with waiting_is_an_error():
            values = [fitting.step(shown, step)["loss"] for step in (1, 2)]
        assert torch.stack(values).isfinite().all()


@pytest.mark.parametrize("name", strategies_for("classification"))
def test_scores_are_those_of_the_cpu(name: str) -> None:
    """A form that is for GPUs alone would rank other units first."""
    strategy = small_strategy(name)
    found = {}
    for device in ("cpu", "cuda"):
        bench = Bench.of(strategy, device)
        columns = Columns({name: strategy}, Classification(), 1, UNITS)
        found[device] = columns.computed(
            bench.ids, lambda rows, fill, bench=bench: bench.signals(range(UNITS), cycle=1)
        )

    assert found["cpu"].keys() == found["cuda"].keys()
    for column, values in found["cpu"].items():
        assert np.allclose(values, found["cuda"][column], rtol=2e-2, atol=2e-3), column


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_policy_is_that_of_the_cpu(name: str) -> None:
    """Masks or labels would be those of other images; colours may be rounded otherwise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)
    here, there = (OPERATIONS[name](each, 0.7) for each in (images, images.cuda()))

    assert (here.int() - there.cpu().int()).abs().max() <= 1


def test_augmentation_is_that_of_the_cpu() -> None:
    """A GPU would train on other pieces of the images."""
    augment = Augment(flip=True, crop=2, cutout=5)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8, generator=generator)
    draws = augment.draw(16, generator)

    assert torch.equal(augment(images, draws), augment(images.cuda(), draws).cpu())


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_an_evaluation_counts_what_the_cpu_counts(tmp_path: Path, task: str) -> None:
    """Test metrics would depend on the machine by more than near ties."""
    x = experiment(task)
    store = training(x, str(tmp_path)).store
    card = x.card_for(Store(store).card)
    weights = TrainedModel.of(card, card.untrained(0)).write(Folder(tmp_path))
    job = EvaluateJob(x, store, FileLocation(Folder(tmp_path).url, weights))
    here, there = (Evaluation(job, each).count(job.shards()[0]) for each in ("cpu", "cuda"))

    assert here[:-1].sum() == there[:-1].sum()
    assert np.abs(here[:-1] - there[:-1]).sum() <= 0.02 * here[:-1].sum()
    assert there[-1] == pytest.approx(here[-1], rel=1e-2)


SHORT: dict[str, Any] = {"epochs": 8, "batch_size": 4, "unlabeled_batch_size": 4, "lr": 0.01}
TWO_VIEWS: dict[str, Any] = {
    "augment": {"crop": 1, "padding": "reflect"},
    "strong": {"crop": 1, "policy": "uda", "cutout": 3},
    "threshold": 0.2,
    "average": {"alpha": 0.9},
}
WITH_UNLABELED = {"tod": Tod(**SHORT), "uda": Uda.model_validate(SHORT | TWO_VIEWS)}


def last_loss(scheme: str, out: Path, worker: Worker = GPU, **compute: Any) -> float:
    """Of a short training with unlabeled images, without dropout, which a GPU draws otherwise."""
    fields = {"compute": {"engine": "local", **compute}, "model": {"name": "small_cnn", "width": 4}}
    x = experiment("classification", WITH_UNLABELED[scheme], **fields)
    done = train(training(x, str(out), images=32, cycle=1), worker)
    assert done is not None
    return done.loss


@pytest.mark.parametrize("scheme", WITH_UNLABELED)
@pytest.mark.parametrize("field", ["overlap", "compile"])
def test_faster_ways_learn_the_same(tmp_path: Path, field: str, scheme: str) -> None:
    """A second stream that does not wait where it must learns from half-made images; a compiled
    network may be another."""
    plain = last_loss(scheme, tmp_path / "plain")
    faster = last_loss(scheme, tmp_path / field, **{field: True})

    assert faster == pytest.approx(plain, rel=0.1, abs=0.05)


@pytest.mark.parametrize("scheme", WITH_UNLABELED)
def test_unlabeled_images_teach_what_they_teach_on_the_cpu(tmp_path: Path, scheme: str) -> None:
    """Views would be made from other numbers on a GPU, or an average follow another network."""
    here = last_loss(scheme, tmp_path / "cpu", Worker(device="cpu"))

    assert last_loss(scheme, tmp_path / "cuda") == pytest.approx(here, rel=0.1, abs=0.05)


def test_bfloat16_lies_as_tensor_cores_want_it() -> None:
    """A convolution would turn its weights round at every call."""
    network = Bench().networks[0]
    there = placed(network, "cuda", "bf16")
    convolution = next(w for w in there.parameters() if w.ndim == 4 and min(w.shape[1:3]) > 1)

    assert convolution.is_contiguous(memory_format=torch.channels_last)
