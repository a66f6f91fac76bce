"""rayal/workflows/checks.py: what makes a run impossible on its data and machine."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rayal.data.card import Card, ImageSpec
from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.models.base import Model
from rayal.parts import find
from rayal.testing.model import spec
from rayal.workflows.checks import check
from rayal.workflows.plan.cycles import plan_cycles
from rayal.workflows.resources import Resources
from rayal.workflows.warnings import warnings
from tests.support.networks import build_to_look_at

CONFIGS = Path(__file__).parents[2] / "configs"

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": "small_cnn",
    "strategy": "cod",
    "budget": {"initial": 20, "per_cycle": 20, "total": 100},
}


@pytest.fixture(scope="module")
def card() -> Card:
    return find("datasets", "digits")().open().card


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(FIELDS | changes)


def problems(x: Experiment, card: Card, resources: Resources | None = None) -> list[str]:
    """The lines of the error; none where there is no error."""
    try:
        check(x, card, resources)
    except UsageError as error:
        return str(error).splitlines()
    return []


def test_what_can_run_passes(card: Card) -> None:
    """A check that refuses good experiments would be switched off; the whole pool can be bought."""
    assert [] == problems(experiment(), card, Resources(cpus=1, gpus=0))
    whole = {"initial": 20, "per_cycle": 500, "total": card.pool}
    assert [] == problems(experiment(budget=whole, candidates=card.pool), card)


def test_an_oracle_that_somebody_has_to_tell(card: Card) -> None:
    """A run would train, score, and then wait for labels that nothing can give it."""
    x = experiment(oracle="told", budget={})

    _, budget, oracle = problems(x, card)
    assert "budget: is required; set" in budget and "oracle: 'told' has no answers" in oracle
    check(x, card, asked=True)  # with rayal.ActiveLearner
    assert [] == problems(experiment(oracle="simulated"), card)


def test_contradictions_with_the_data_come_together(card: Card) -> None:
    """Each would otherwise show up hours into the run, one after the other."""
    x = experiment(
        budget={"initial": 3, "per_cycle": 20, "total": 1438},
        candidates=2000,
        max_bad=1,
        compute={"train_workers": 2},
    )
    tiny = card.image.model_copy(update={"height": 4, "width": 4})
    broken = {f"digit-{i:04d}": "truncated" for i in range(2)}

    lines = problems(x, card.model_copy(update={"image": tiny, "bad": broken}))

    assert "5 problems in experiment 'tiny'" == lines[0]
    assert [
        "  budget.total: 1438 is more than the 1437 images of the pool; lower it",
        "  candidates: 2000 is more than the 1437 images of the pool; use null, which scores all"
        " of them",
        "  max_bad: 1 is less than the 2 images that are undecodable; raise it, or mend them",
    ] == lines[1:4]
    assert "2 training workers" in lines[4]
    assert lines[5].startswith("  model 'small_cnn': images of 4x4 px are too small")
    budget = {"initial": 4, "per_cycle": 20, "total": 1437}
    mended = experiment(budget=budget, candidates=None, max_bad=2, compute={"train_workers": 2})
    assert [] == problems(mended, card.model_copy(update={"bad": broken, "pool": 1439}))


def test_one_problem_is_one_line(card: Card) -> None:
    """The command line prints it as it is."""
    x = experiment(budget={"initial": 20, "per_cycle": 20, "total": 2000})

    assert ["budget.total: 2000 is more than the 1437 images of the pool; lower it"] == problems(
        x, card
    )


def test_whoever_asks_again_may_buy_more_than_the_pool_has(card: Card) -> None:
    """Second opinions of a small pool would be refused, though people give as many as are asked."""
    more = {"initial": 20, "per_cycle": 500, "total": card.pool + 30}
    asked: dict[str, Any] = {"strategy": "active_lab", "oracle": "people", "budget": more}

    assert [] == problems(experiment(**asked), card)
    assert more["total"] == sum(
        [20, *(cycle.bought for cycle in plan_cycles(experiment(**asked), card))]
    )
    for once in ({"oracle": "simulated"}, {"strategy": "entropy"}):
        (line,) = problems(experiment(**asked | once), card)
        assert line.startswith("budget.total: 1467 is more than the 1437 images of the pool")
    first = {**more, "initial": card.pool + 1}
    (line,) = problems(experiment(**asked | {"budget": first}), card)
    assert line.startswith("budget.initial: 1438 is more than the 1437 images of the pool")


def test_pretrained_weights_are_tried(card: Card, tmp_path: Path) -> None:
    """A file that does not fit must not be found out by the workers."""
    x = experiment(model={"name": "small_cnn", "pretrained": str(tmp_path / "no.safetensors")})

    (line,) = problems(x, card)

    assert "no.safetensors" in line


def dense(card: Card, name: str, *changes: str, size: tuple[int, int] = (90, 120)) -> list[str]:
    """The problems of a configuration of CamVid on images of a size."""
    channels = {"channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    spec = ImageSpec(height=size[0], width=size[1], **channels)
    x = config.load(CONFIGS / "camvid" / f"{name}.yaml", ["dataset.root=/nowhere", *changes])
    return problems(x, card.model_copy(update={"image": spec}))


def test_companions_that_the_model_has_no_place_for(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first labels would be bought, and the first training of `isda` die of its last layer."""
    build_to_look_at(monkeypatch)
    assert [] == dense(card, "dast_al")
    (line,) = dense(card, "dast_al", "model=deeplab_v2")
    assert line.startswith("model: 'deeplab_v2', but isda, epmcm: the last layer of DenseNetwork")
    assert line.endswith("use a model whose last layer is a 1x1 convolution")
    (line,) = dense(card, "base", "model=deeplab_v2", "strategy=epmcm")
    assert line.startswith("model: 'deeplab_v2', but epmcm: ")


class Flat(Model):
    """A network of a user that has no blocks."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        inputs = image.channels * image.height * image.width
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, num_classes))


def test_a_network_without_maps_has_no_place_for_a_loss_head(card: Card) -> None:
    """The first labels would be bought, and the first training of learning loss stop."""
    (line,) = problems(experiment(model=Flat(), strategy="ll4al"), card)
    assert line.startswith(f"model: '{Flat.part_name()}', but ll4al: its network shows no maps")
    assert line.endswith("use one that does, such as resnet18")
    assert [] == problems(experiment(strategy="ll4al"), card)


@pytest.mark.parametrize("strategy", ["vaal", "sraal", "ta_vaal", "ll4al"])
def test_strategies_that_look_at_maps_or_pixels_take_no_vectors(card: Card, strategy: str) -> None:
    """The first labels would be bought, and the first training end in a convolution."""
    vectors = card.model_copy(update={"image": spec(channels=6)})
    found = problems(experiment(model="linear_head", strategy=strategy), vectors)

    told = [line for line in found if f"dataset: 'digits', but {strategy}: the " in line]

    assert (2 if strategy == "ta_vaal" else 1) == len(told) and told == found[-len(told) :]
    assert all(line.endswith("are vectors of features (C); use another strategy") for line in told)
    assert [] == problems(experiment(model="linear_head", strategy="badge"), vectors)


SEES = "the discriminator sees 12x40 pixels, it needs 16x16"


@pytest.mark.parametrize(
    ("changes", "size", "expected"),
    [
        (["scheme.augment.window=[16,16]", "scheme.augment.scale=null"], (16, 16), []),
        (
            ["scheme.augment.window=[12,40]"],
            (90, 120),
            [f"scheme.augment.window: [12, 40], but {SEES}; choose another"],
        ),
        (
            ["scheme.augment.window=null", "scheme.augment.scale=null"],
            (12, 40),
            [f"dataset: 'camvid', but {SEES}; use larger images"],
        ),
        (["scheme.augment.window=[16,40]"], (12, 40), []),  # never sees the images themselves
        (
            [
                "scheme.augment.window=[16,40]",
                "strategy={name: d_score, discriminator: {width: 16}}",
                "observers=[{name: d_score, discriminator: {width: 16}}]",
            ],
            (12, 40),
            [f"dataset: 'camvid', but {SEES}; use larger images"],
        ),
    ],
    ids=["least", "window", "image", "window of a small image", "scored"],
)
def test_what_the_discriminator_would_see(
    card: Card, changes: list[str], size: tuple[int, int], expected: list[str]
) -> None:
    """A traceback in the first step, or after a whole training in the first pass."""
    assert expected == dense(card, "s4gan", *changes, size=size)


def test_options_of_the_oracle_that_do_not_fit(card: Card) -> None:
    """Found after the first purchase, it would look like a fault of a mask."""
    (line,) = dense(card, "clicks", "oracle.background=200")

    assert line.startswith("oracle.background: 200 is no class of")


def test_windows_too_small_for_the_model(card: Card) -> None:
    """The model is asked about whole images, and trains on windows."""
    (line,) = dense(card, "base", "scheme.augment.window=[4,40]")

    assert line.startswith("scheme.augment.window: [4, 40], but model 'small_segmenter': images of")
    assert line.endswith("4x40 px are too small; it needs 8x8; choose another")
    assert [] == dense(card, "base", "scheme.augment.window=[8,40]")


def test_an_ensemble_that_nobody_asks_is_told(card: Card) -> None:
    """Every training would take five times as long for nothing."""
    (told,) = warnings(experiment(ensemble=5), card)

    assert "ensemble: 5 models are trained and no strategy asks more than one; use 1" == told
    assert [] == list(warnings(experiment(ensemble=1), card))


def test_companions_are_tried_without_a_trace(card: Card) -> None:
    """A check would change what the rest of the process draws."""
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)

    assert [] == dense(card, "s4gan")
    assert torch.equal(expected, torch.rand(5))


@pytest.mark.parametrize(
    ("compute", "resources", "expected"),
    [
        (
            {"device": "cuda"},
            (8, 0),
            ["compute.device: cuda, but there is no GPU; use cpu or auto"],
        ),
        ({"device": "auto"}, (8, 0), []),
        ({"device": "cpu"}, (8, 0), []),
        (
            {"train_workers": 3},
            (2, 0),
            ["compute.train_workers: takes 3 CPUs, there are 2; lower it"],
        ),
        (
            {"train_workers": 2, "cpus_per_worker": 2},
            (3, 0),
            [
                "compute.train_workers: takes 4 CPUs, there are 3; lower it or"
                " compute.cpus_per_worker"
            ],
        ),
        ({"cpus_per_worker": 1, "train_workers": 2}, (3, 0), []),
        ({"cpus_per_worker": 2, "train_workers": 1}, (3, 0), []),
        ({"scorers": 3}, (2, 1), ["compute.scorers: takes 3 GPUs, there are 1; lower it"]),
        ({"scorers": 1}, (2, 1), []),
        ({"scorers": 2, "device": "cpu"}, (2, 1), []),
        ({"train_workers": 2, "cpus_per_worker": 9}, (8, 2), []),
    ],
)
def test_resources(
    card: Card, compute: dict[str, Any], resources: tuple[int, int], expected: list[str]
) -> None:
    """Ray would wait for ever for what a cluster cannot give."""
    assert expected == problems(experiment(compute=compute), card, Resources(*resources))


def test_resources_of_this_machine() -> None:
    """At least one core runs this test."""
    assert Resources.here().cpus >= 1


def test_warnings(card: Card) -> None:
    """What is allowed but seldom meant is said, once each."""
    x = experiment(
        budget={"initial": 5, "per_cycle": 20, "total": 100}, start="cold", observers=["entropy"]
    )
    odd = card.model_copy(update={"bad": {"digit-0001": "x"}, "duplicates": {"across": 3}})

    assert [] == list(warnings(experiment(), card))
    assert [
        "budget: the last cycle buys the 15 that are left, not 20",
        "budget.initial: 5 labels cannot show all 10 classes",
        "start: after a cold start cod measures mostly the new weights; use warm",
        "dataset: 1 image cannot be decoded and will not be used",
        "dataset: 3 test images are also in the pool; guards.test_images: leave_out never buys"
        " these",
    ] == list(warnings(x, odd))
    assert [] == list(warnings(experiment(start="cold", strategy="entropy"), card))
    assert not any(line.startswith("start") for line in warnings(experiment(start="warm"), odd))


def test_a_strategy_that_may_buy_fewer(card: Card) -> None:
    """A run with more cycles than were planned would look as if something had gone wrong."""
    budget = {"initial": 20, "per_cycle": 20, "total": 90}
    x = experiment(strategy={"name": "random", "replace": True}, budget=budget)

    assert [
        "strategy: 'random' as it is set may buy fewer than 20 units in a cycle, so that more"
        " cycles than planned spend the budget"
    ] == list(warnings(x, card))
    assert "20 units" not in " ".join(warnings(experiment(strategy="random"), card))


def test_rules_that_nothing_measures(card: Card) -> None:
    """A strategy that picks what its model gets wrong would never reach a target, one that picks
    what is easy at once; whoever asks for units ends when they like. Each way out works."""
    target = {"target": 0.9}
    limited = {"strategy": "random", "guards": {"per_class": 2}}
    untested = card.model_copy(update={"test": 0, "tested": False})
    (line,) = problems(experiment(stop=target), untested)
    (also,) = problems(experiment(stop=target, **limited), untested)

    assert line == also and line.startswith("stop.target: there are no test images")
    assert [] == problems(experiment(stop=target, strategy="random"), untested)
    assert [] == problems(experiment(stop={}), untested) == problems(experiment(stop=target), card)
    with pytest.raises(UsageError, match="stop: 'target' cannot end an ActiveLearner"):
        check(experiment(stop=target, oracle="told", budget={}), card, asked=True)
    check(experiment(oracle="told", budget={}), card, asked=True)


def test_first_units_that_nobody_looks_for(card: Card) -> None:
    """An ActiveLearner would ask for random units where it was told to choose them; both ways out
    work: labels told beforehand are in tests/api/test_active_learner.py."""
    told = {"oracle": "told", "budget": {}}
    with pytest.raises(UsageError, match="first: 'core_set' looks at the pool in a pass of its"):
        check(experiment(first="core_set", **told), card, asked=True)
    check(experiment(**told), card, asked=True)
    check(experiment(first="core_set"), card)
