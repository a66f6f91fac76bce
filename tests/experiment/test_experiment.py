"""rayal/experiment/experiment.py: contradictions, columns of the scoring pass, identity."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from rayal.data.images import Decoding
from rayal.data.tasks.base import Task
from rayal.errors import UsageError
from rayal.experiment.compute import Compute
from rayal.experiment.experiment import Experiment
from rayal.labeling.budget import Budget
from rayal.labeling.oracles.base import Oracle
from rayal.models.companions.base import CompanionSpec
from rayal.parts import Contradiction, find
from rayal.strategies.entropy import Entropy
from rayal.training.schemes.supervised import Supervised
from tests.support.doubles import GuessSpec

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "model": "small_cnn",
    "strategy": "cod",
    "budget": {"initial": 20, "per_cycle": 20, "total": 100},
}


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(FIELDS | changes)


def problems(**changes: Any) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(ValidationError) as caught:
        experiment(**changes)
    return {error["loc"]: error["msg"] for error in caught.value.errors()}


def test_parts_can_be_given_as_objects() -> None:
    """From Python an experiment is made of parts, not of dictionaries."""
    strategy = find("strategies", "cod")(first_cycle="entropy")
    x = experiment(strategy=strategy, budget=Budget(initial=20, per_cycle=20, total=100))

    assert strategy == x.strategy
    assert experiment(strategy={"name": "cod", "first_cycle": "entropy"}) == x


def test_contradictions() -> None:
    """What cannot work is refused before anything runs, under the key to change."""
    assert {
        ("budget", "initial"): "20 is more than budget.total, 10; lower it, or raise that",
        ("candidates",): "19 cannot fill budget.per_cycle, 20; raise it, or lower that",
        ("compute", "train_workers"): (
            "2, but compute.engine local is one process; use 1, or compute.engine ray"
        ),
    } == problems(
        budget={"initial": 20, "per_cycle": 20, "total": 10},
        candidates=19,
        compute={"engine": "local", "train_workers": 2},
    )
    experiment(compute={"engine": "local", "train_workers": 1})
    experiment(compute={"engine": "ray", "train_workers": 2})


def test_a_strategy_for_another_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each strategy that cannot score this task is named, observers too, with those that can."""
    monkeypatch.setattr(find("strategies", "cod"), "tasks", frozenset({"segmentation"}))

    found = problems(observers=["entropy", "cod"])

    assert {("strategy",), ("observers", 1)} == found.keys()
    assert found["strategy",].startswith(
        "'cod' supports segmentation, but the task is 'classification'; choose one of: "
    )


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        ("grid_entropy", "'cod' reads a signal of dense networks, which classify every pixel"),
        ("ensemble_log_probs", "'cod' needs an ensemble"),
        ("grid", "'cod' reads the signal 'grid', which is none"),
    ],
)
def test_what_a_signal_requires(monkeypatch: pytest.MonkeyPatch, signal: str, problem: str) -> None:
    """It would be missed in the first pass, after a training."""
    monkeypatch.setattr(find("strategies", "cod"), "needs", frozenset({signal}))
    (found,) = problems().values()

    assert problem == found.split(";")[0]


def test_boundaries_that_are_allowed() -> None:
    """A run without cycles trains once; a last cycle may buy less than the others."""
    one = experiment(budget={"initial": 20, "per_cycle": 20, "total": 20})
    rest = experiment(budget={"initial": 20, "per_cycle": 30, "total": 100}, candidates=30)

    assert one.budget.initial == one.budget.total
    assert rest.candidates == rest.budget.per_cycle


def test_columns_of_the_pass() -> None:
    """Two strategies of one name must not write into one column."""
    x = experiment(observers=["entropy", {"name": "cod", "first_cycle": "entropy"}, "cod"])

    assert ["cod", "entropy", "cod#2", "cod#3"] == list(x.scored())
    assert "entropy" == x.scored()["cod#2"].first_cycle


def test_identity_is_what_decides_the_chosen_ids() -> None:
    """A run continues with data elsewhere or more scorers, but not with another learning rate."""
    x = experiment()
    elsewhere = experiment(
        dataset={"name": "digits", "root": "/elsewhere", "store": "/fast"},
        compute=Compute(scorers=7, engine="local", max_failures=0, select_bytes=0),
        tracking="none",
    )

    assert x.identity() == elsewhere.identity()
    for change in (
        {"seed": 1},
        {"scheme": {"name": "supervised", "lr": 0.2}},
        {"strategy": "margin"},
        {"candidates": 50},
        {"start": "cold"},
        {"compute": Compute(train_workers=2)},
    ):
        assert x.identity() != experiment(**change).identity()


def test_experiments_are_frozen() -> None:
    """What the run folder recorded at the start must still be true at the end."""
    x = experiment()

    with pytest.raises(UsageError, match="seed cannot be set, for it is frozen; make another"):
        x.seed = 1


class Picky(Supervised):
    """A scheme of a user that cannot do everything."""

    def contradictions(self, task: Task, start: str, workers: int) -> Iterator[Contradiction]:
        yield from super().contradictions(task, start, workers)
        if start == "warm":
            yield Contradiction(("start",), "picky forgets; use cold")


class TeachingSpec(GuessSpec):
    """Whose head teaches the trunk too."""

    @property
    def changes_training(self) -> bool:
        return True


class Teaching(Entropy):
    """A strategy of a user that trains a head with the model."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (TeachingSpec(),)


class Proud(Entropy):
    """A strategy of a user that works with ensembles alone."""

    def contradictions(self, task: Task, oracle: Oracle | None, ensemble: int) -> Iterator[str]:
        if ensemble == 1:
            yield "wants company; set `ensemble`"


def test_parts_answer_for_themselves() -> None:
    """What a user's own part cannot do would be found in the middle of a run."""
    assert {
        ("start",): "picky forgets; use cold",
        ("observers", 0): f"{Proud.part_name()!r} wants company; set `ensemble`",
    } == problems(scheme=Picky(), observers=[Proud()])
    assert isinstance(experiment(scheme=Picky(), start="cold").scheme, Picky)


def test_the_schemes_contradictions() -> None:
    """Masks would stay where their images move, a cold start be a warm one's scheme, or workers
    wait for each other over an unlabeled batch."""
    cyclic = {"name": "cyclic_od", "unlabeled_batch_size": 5}
    found = problems(
        scheme=cyclic, start="cold", compute={"train_workers": 2}, observers=["variation_ratio"]
    )

    assert {
        ("start",): "scheme 'cyclic_od' continues from the last cycle; use warm",
        ("compute", "train_workers"): (
            "2 cannot share an unlabeled batch of 5 equally, two images or more each; use 1"
        ),
        ("observers", 0): (
            "'variation_ratio' needs an ensemble; set `ensemble` to 2 or more (5 in the"
            " literature), or in `rayal score` give its other members with --member (in Python:"
            " members=)"
        ),
    } == found
    experiment(scheme=cyclic, observers=["variation_ratio"], ensemble=2)


def test_an_observer_that_would_change_the_training() -> None:
    """What is only looked at would decide what is learned."""
    observed = problems(observers=[Teaching()])

    assert observed["observers", 0].endswith("may; observe it in a run of its own")
    assert experiment(strategy=Teaching()).companions() == (TeachingSpec(),)


def test_masks_are_moved_by_windows_alone() -> None:
    """Masks would stay where they are while their images are cropped."""
    fields = {"dataset": "camvid", "task": "segmentation", "model": "small_segmenter"}
    told = problems(
        **fields, strategy="entropy", scheme={"name": "supervised", "augment": {"crop": 4}}
    )

    assert (
        "crop and policy cannot move masks; use window in place of both"
        == told["scheme", "augment"]
    )
    windowed = {"name": "supervised", "augment": {"window": [8, 8]}}
    experiment(**fields, strategy="entropy", scheme=windowed)


def test_the_oracles_contradictions() -> None:
    """A run would count clicks as labels, or fail when its first units are drawn."""
    budget = {**FIELDS["budget"], "unit": "clicks", "balanced": True}

    assert {
        ("budget", "unit"): (
            "clicks, but oracle 'simulated' counts costs in samples; give both the same"
        )
    } == problems(budget=budget)
    assert (
        "oracle 'clicks' does not know classes beforehand; set it to false, or oracle to simulated"
        == problems(budget=budget, oracle="clicks")["budget", "balanced"]
    )


def test_parts_of_another_task() -> None:
    """Each part that cannot do the task is named once, however much else is wrong with it."""
    found = problems(task="segmentation", strategy="random_polygon")
    other = problems(strategy="random_polygon")

    assert {("dataset",), ("model",), ("strategy",)} == found.keys()
    assert found["model",].startswith(
        "'small_cnn' supports classification, but the task is 'segmentation'; choose one of: dee"
    )
    assert (
        "'random_polygon' chooses regions, and oracle 'simulated' knows none; use clicks,"
        " or people with tiles" == found["strategy",]
    )
    assert other["strategy",].startswith("'random_polygon' supports segmentation, but the task")


def test_a_model_knows_how_its_photographs_were_prepared(tmp_path: Path) -> None:
    """A store that keeps small photographs as pixels would lose it, and every other photograph be
    refused by the weights."""
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        Image.new("RGB", (20, 12)).save(tmp_path / split / "cat/a.png")
    options = {"root": str(tmp_path), "store": str(tmp_path / "s"), "size": 8, "resize": 10}
    x = experiment(dataset={"name": "image_folder", **options})
    store = x.dataset.open().card

    assert ("raw", None) == (store.encoding, store.decoding)
    assert Decoding(size=8, resize=10) == x.card_for(store).decoding
