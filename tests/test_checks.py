"""rayal/checks.py: what makes a run impossible on its data and machine."""

from pathlib import Path
from typing import Any

import pytest

from rayal.checks import Resources, check, warnings
from rayal.dataset import Card
from rayal.errors import UsageError
from rayal.experiment import Experiment
from rayal.parts import find

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
        "  budget.total: 1438 is more than the 1437 images of the pool",
        "  candidates: 2000 is more than the 1437 images of the pool; null scores all of them",
        "  max_bad: 1 is less than the 2 images that are undecodable",
    ] == lines[1:4]
    assert "2 training workers" in lines[4]
    assert lines[5].startswith("  model 'small_cnn': images of 4x4 px are too small")


def test_one_problem_is_one_line(card: Card) -> None:
    """The command line prints it as it is."""
    x = experiment(budget={"initial": 20, "per_cycle": 20, "total": 2000})

    assert ["budget.total: 2000 is more than the 1437 images of the pool"] == problems(x, card)


def test_pretrained_weights_are_tried(card: Card, tmp_path: Path) -> None:
    """A file that does not fit must not be found out by the workers."""
    x = experiment(model={"name": "small_cnn", "pretrained": str(tmp_path / "no.safetensors")})

    (line,) = problems(x, card)

    assert "no.safetensors" in line


@pytest.mark.parametrize(
    ("compute", "resources", "expected"),
    [
        (
            {"device": "cuda"},
            (8, 0),
            ["compute.device: cuda, but there is no GPU; use cpu or auto"],
        ),
        ({"device": "auto"}, (8, 0), []),
        ({"train_workers": 3}, (2, 0), ["compute.train_workers: takes 3 CPUs, there are 2"]),
        (
            {"train_workers": 2, "cpus_per_worker": 2},
            (3, 0),
            ["compute.train_workers: takes 4 CPUs, there are 3"],
        ),
        ({"scorers": 3}, (2, 1), ["compute.scorers: takes 3 GPUs, there are 1"]),
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
        "dataset: 1 images cannot be decoded and will not be used",
        "dataset: 3 test images are also in the pool",
    ] == list(warnings(x, odd))
    assert [] == list(warnings(experiment(start="cold", strategy="entropy"), card))
