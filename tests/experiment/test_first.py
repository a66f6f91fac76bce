"""What chooses the first units: what cannot, and what it cannot be beside."""

from typing import Any

import pytest

from rayal.errors import UsageError
from rayal.experiment import config
from rayal.experiment.experiment import Experiment
from rayal.experiment.first import _able
from rayal.experiment.identity import identifying, of_arm
from rayal.parts import build, find, names

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": "small_cnn",
    "strategy": "margin",
    "budget": {"initial": 20, "per_cycle": 20, "total": 100},
}


def made(**fields: Any) -> Experiment:
    return config.from_keywords({**FIELDS, **fields}, [], Experiment)


TRAINED = "asks a trained model, and none is there before the first units; use random, or one of:"
BESIDE = "which is made beside a model in training, and none is yet; use random, or one of:"


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("entropy", TRAINED),  # probabilities
        ("badge", TRAINED),
        ("expected_gradnorm", TRAINED),  # gradients
        ("cod", TRAINED),  # the last cycle's weights
        ("qbc", TRAINED),  # an ensemble
        ("bald", TRAINED),  # dropout
        ("active_lab", TRAINED),  # labels that there are
        ("ll4al", BESIDE),  # a companion
        ("vaal", BESIDE),  # a fit
        ("core_gcn", BESIDE),
    ],
)
def test_what_needs_a_training_is_refused(first: str, told: str) -> None:
    """It would choose by a network of chance, or fail after the engine has started; what the
    message names instead works."""
    with pytest.raises(UsageError, match=f"first: '{first}' .*{told}") as refused:
        made(first=first)
    for other in (each.strip() for each in str(refused.value).rpartition(":")[2].split(",")):
        assert made(first=other).chooses_first
    assert not made(first="random").chooses_first


def test_regions_are_not_whole_images() -> None:
    """Masks of parts of images would be bought where the first training has nothing else."""
    fields = {"dataset": "camvid", "task": "segmentation", "model": "small_segmenter"}
    scenes = {**fields, "strategy": "core_set"}
    told = r"'random_polygon' chooses regions, and a model begins with whole images; use random"
    with pytest.raises(UsageError, match=told):
        made(**scenes, first="random_polygon")
    assert made(**scenes, first="core_set").chooses_first


def test_another_task() -> None:
    """The first units would be chosen as those of another task."""
    with pytest.raises(UsageError, match="first: 'random_polygon' supports segmentation"):
        made(first="random_polygon")


@pytest.mark.parametrize(
    ("fields", "told", "better"),
    [
        (
            {"labeled": "labels.csv", "budget": {**FIELDS["budget"], "initial": 0}},
            "first: 'core_set', but the first labels are those in labeled; set first to random",
            {"first": "random"},
        ),
        (
            {"budget": {**FIELDS["budget"], "balanced": True}},
            "budget.balanced: true, but 'core_set' chooses .*; set it to false, or first to random",
            {"first": "random"},
        ),
        (
            {"budget": {**FIELDS["budget"], "balanced": True}},
            "budget.balanced: true, but 'core_set' chooses .*; set it to false, or first to random",
            {"budget": FIELDS["budget"]},
        ),
        (
            {"candidates": 19, "budget": {**FIELDS["budget"], "per_cycle": 5}},
            "candidates: 19 cannot fill budget.initial, 20, which 'core_set' chooses; raise it",
            {"candidates": 20},
        ),
    ],
)
def test_what_it_cannot_be_beside(
    fields: dict[str, Any], told: str, better: dict[str, Any]
) -> None:
    """One of both would be ignored, and nobody would know which."""
    with pytest.raises(UsageError, match=told):
        made(first="core_set", **fields)
    made(**{"first": "core_set", **fields, **better})


def test_what_is_named_is_all_that_can() -> None:
    """A message would name some that are refused."""
    task, allowed = build("tasks", "classification"), []
    for name in names("strategies"):
        if find("strategies", name).draws_at_random:
            continue
        try:
            made(first=name)
        except UsageError:
            continue
        allowed.append(name)

    assert ", ".join(allowed) == _able(task) == "core_set, prob_cover, typiclust"


def test_arms_differ_by_it_and_old_runs_do_not() -> None:
    """Arms with different first units would be averaged; runs from before would be refused."""
    plain, other = made(), made(first={"name": "typiclust", "max_clusters": 30})
    fields = plain.model_dump(mode="json")
    before = {key: value for key, value in fields.items() if key != "first"}

    assert identifying(before) == identifying(fields)
    assert of_arm(fields) != of_arm(other.model_dump(mode="json"))
    assert 30 == other.identity()["first"]["max_clusters"]
