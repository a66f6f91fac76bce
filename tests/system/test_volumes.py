"""Whole runs on volumes: every strategy, kills, pictures, and what is refused before it begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rayal
from rayal.data.datasets.simulated_subtomograms import SimulatedSubtomograms
from rayal.errors import UsageError
from rayal.experiment.experiment import Experiment
from rayal.models.build import build
from rayal.models.network import placed
from rayal.parts import find
from rayal.report.pictures import files
from rayal.runs.record import Record
from rayal.storage.folder import Folder
from rayal.testing.model import image_for
from rayal.workflows import plan
from rayal.workflows.checks import check
from tests.support.doubles import SMALL, models_for, scheme_for, small_strategy, strategies_for
from tests.support.whole_runs import chosen, go, outcome, stopped_at

Tiny = Callable[..., Experiment]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def volumes(tiny: Tiny, stores: str) -> Tiny:
    """An experiment of three cycles on volumes of 8 voxels a side; keyword arguments replace
    fields."""

    def made(**fields: Any) -> Experiment:
        dataset = {"size": 8, "shift": 0.5, "snr": 1.0, "kinds": 3, "pool": 30, "test": 9}
        return tiny(
            **{
                "dataset": {"name": "simulated_subtomograms", **dataset, "store": stores},
                "model": {"name": "rb3d", "dropout": 0.3},
                "scheme": {"epochs": 1, "batch_size": 6, "lr": 0.01, "augment": {"rotate": True}},
                "budget": {"initial": 6, "per_cycle": 4, "total": 14},
                **fields,
            }
        )

    return made


@pytest.mark.parametrize(
    "strategy", [n for n in strategies_for("classification") if n not in SMALL]
)
def test_every_strategy_chooses_volumes(volumes: Tiny, tmp_path: Path, strategy: str) -> None:
    """A strategy that counts on H W would end a run on volumes, or choose by other numbers."""
    scheme = {"name": scheme_for(strategy), "epochs": 1, "batch_size": 6, "lr": 0.01}
    asks = small_strategy(strategy)
    x = volumes(strategy=asks, ensemble=models_for(asks), scheme=scheme)
    stopped_at(x, tmp_path / "run", 2, "train")  # the rest is a training like the others
    picks = chosen(tmp_path / "run")

    assert [4, 4] == [len(ids) for ids in picks]
    assert 8 == len({unit for ids in picks for unit in ids} & set(x.dataset.open().pool.ids()))


def test_views_and_fits_are_asked_whether_they_fit(volumes: Tiny) -> None:
    """The first step would end with a shape that does not fit, after a whole training."""
    x = volumes(scheme={"name": "uda", "epochs": 1, "batch_size": 6})
    with pytest.raises(UsageError, match=r"scheme.strong: crop, policy, cutout cannot change"):
        check(x, x.dataset.open().card)


@pytest.mark.parametrize("strategy", sorted(SMALL))
def test_autoencoders_of_images_refuse_volumes(volumes: Tiny, strategy: str) -> None:
    """A worker would find out, after the first training."""
    x = volumes(strategy=strategy)
    with pytest.raises(UsageError, match="volumes"):
        check(x, x.dataset.open().card)


@pytest.mark.parametrize("scheme", ["tod", "cyclic_od", "isda"])
def test_every_scheme_learns_from_volumes(volumes: Tiny, tmp_path: Path, scheme: str) -> None:
    """A companion that counts on H W would end a training."""
    fields = (
        {"unlabeled_batch_size": 4}
        if "unlabeled_batch_size" in find("schemes", scheme).model_fields
        else {}
    )
    x = volumes(scheme={"name": scheme, "epochs": 1, "batch_size": 6, **fields}, strategy="cod")
    go(x, tmp_path / "run")

    assert [4, 4] == [len(ids) for ids in chosen(tmp_path / "run")]


def test_a_killed_run_ends_the_same(volumes: Tiny, tmp_path: Path) -> None:
    """Picks and weights would depend on when a machine failed."""
    x = volumes(strategy="entropy_gradnorm", model="rb3d")
    go(x, tmp_path / "whole")
    for cycle, stage in ((0, "score"), (1, "train"), (2, "evaluate")):
        stopped_at(x, tmp_path / "killed", cycle, stage)
    go(x, tmp_path / "killed")

    assert outcome(tmp_path / "whole") == outcome(tmp_path / "killed")


def test_pictures_show_planes(volumes: Tiny, tmp_path: Path) -> None:
    """`rayal report --pictures` of a run on volumes would end in a traceback."""
    go(volumes(strategy="entropy"), tmp_path / "run")
    found = dict(files(Record(Folder(str(tmp_path / "run"))), 3))

    assert {"cycle-000.png", "cycle-001.png"} <= found.keys()
    assert all(found[name].startswith(b"\x89PNG") for name in found if name.endswith("png"))


def test_a_learner_hands_out_volumes(volumes: Tiny, tmp_path: Path) -> None:
    """Whoever labels them would see a plane, or other axes."""
    x = volumes(strategy="entropy", oracle="told")
    with rayal.ActiveLearner(x, out=str(tmp_path / "learner")) as learner:
        (first, *_) = learner.ask(6)
        (image,) = learner.images([first])
        assert isinstance(x.dataset, SimulatedSubtomograms)
        expected = x.dataset.volume(first, int(first.removeprefix("train-")) % 3)

    assert np.array_equal(expected[0], image[..., 0])


def test_weights_score_a_dataset_by_a_pass_and_in_memory(volumes: Tiny, tmp_path: Path) -> None:
    """The scores of a module on the same numbers would be others."""
    x = volumes(strategy="entropy")
    go(x, tmp_path / "run")
    store, run = x.dataset.open(), rayal.open_run(str(tmp_path / "run"))
    module, spec = run.model(), store.card.image
    by_pass = rayal.score(run, store.url, ["entropy", "margin"], out=str(tmp_path / "scores"))
    images = store.pool.decode(store.pool.take(by_pass.ids)).images
    images = (images - np.float32(spec.mean[0])) / np.float32(spec.std[0])
    in_memory = rayal.score(module, images, ["entropy", "margin"], ids=by_pass.ids)
    columns = ["score.entropy", "score.margin"]

    np.testing.assert_allclose(
        by_pass.table()[columns], in_memory.table()[columns], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "small_cnn"}, "model 'small_cnn': it takes pictures .* dsrf3d_v2, rb3d"),
        ({"scheme": {"augment": {"crop": 1}}}, "crop cannot change volumes .*use flip, mirror"),
        ({"dataset": {"name": "digits"}}, "model 'rb3d': it takes volumes .* resnet18, small_cnn"),
        (
            {"dataset": {"name": "simulated_subtomograms", "size": 8}, "model": "vgg16"},
            "model 'vgg16': it takes pictures",
        ),
    ],
)
def test_what_cannot_work_is_planned_by_nobody(
    volumes: Tiny, fields: dict[str, Any], told: str
) -> None:
    """The first batch would end in an error of torch, with the data prepared and labels bought."""
    if "scheme" in fields:
        fields = {"scheme": {"epochs": 1, "batch_size": 6, **fields["scheme"]}}
    x = volumes(strategy="entropy", **fields)
    with pytest.raises(UsageError, match=told):
        plan.make(x, x.dataset.open(), probe=False)
    assert plan.make(volumes(strategy="entropy"), volumes().dataset.open(), probe=False).cycles


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["rb3d", "dsrf3d_v2"])
def test_bfloat16_lies_as_tensor_cores_want_it(name: str) -> None:
    """A convolution of volumes would turn its weights round at every call, or the move be
    refused."""
    model = find("models", name)()
    image = image_for(model)
    assert image is not None
    network = placed(build(model, 5, image, seed=0), "cuda", "bf16")
    weight = next(w for w in network.parameters() if w.ndim == 5 and min(w.shape[1:3]) > 1)

    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network(torch.zeros(2, *image.shape, device="cuda")).logits.isfinite().all()


@pytest.mark.gpu
def test_gradient_norms_are_those_of_the_cpu() -> None:
    """The form for GPUs would rank other volumes first."""
    from rayal.signals.gradients import entropy_gradient_norms

    model = find("models", "rb3d")()
    image = image_for(model)
    assert image is not None
    network = build(model, 5, image, seed=0).eval()
    volumes = torch.randn(6, *image.shape, generator=torch.Generator().manual_seed(0))
    here = entropy_gradient_norms(network, volumes)
    there = entropy_gradient_norms(network.cuda(), volumes.cuda()).cpu()

    torch.testing.assert_close(there.sqrt(), here.sqrt(), rtol=2e-2, atol=1e-5)
