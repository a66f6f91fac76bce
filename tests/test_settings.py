"""rayal/settings.py: what every configuration refuses, and that all of them are made of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

import rayal
from rayal.data.datasets.voc import Voc
from rayal.data.images import Decoding
from rayal.data.masks import MaskDecoding
from rayal.errors import UsageError
from rayal.experiment.compute import Compute
from rayal.experiment.sweep.settings import SweptExperiment
from rayal.labeling.budget import Budget
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.parts import PACKAGES, find, names
from rayal.settings import Settings
from rayal.training.augment import Augment
from rayal.workflows.score.settings import PoolScoring, Redecoding
from rayal.workflows.select.request import Request

DIGITS = Path(rayal.__file__).parent / "examples/digits.yaml"


def test_what_is_frozen_is_made_anew() -> None:
    """pydantic says that an instance is frozen, and no more."""
    x = rayal.load(DIGITS, set=["seed=1"])
    with pytest.raises(UsageError, match=r"seed cannot be set.* by rayal.load\(path, seed=...\)"):
        x.seed = 3
    with pytest.raises(UsageError, match=r"make another one, by SmallCnn\(..., width=...\)"):
        SmallCnn().width = 3

    assert (1, 3) == (x.seed, rayal.load(DIGITS, seed=3).seed)
    assert 3 == SmallCnn(width=3).width


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
def test_numbers_are_finite(value: object) -> None:
    """A learning rate of nan passes every comparison and ends in nonsense hours later."""

    class Rate(Settings):
        lr: float

    with pytest.raises(UsageError, match="finite"):
        Rate(lr=value)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation mentions anywhere."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def configurations() -> list[type[BaseModel]]:
    """Every class that something written by a user is read with."""
    found: list[type[BaseModel]] = [SweptExperiment, PoolScoring, Request]
    found += [find(kind, name) for kind in PACKAGES for name in names(kind)]
    for model in found:  # grows
        for field in model.model_fields.values():
            found += [inner for inner in models_in(field.annotation) if inner not in found]
    return found


def test_every_configuration_follows_one_rule() -> None:
    """`augment: {crop: true}` would be a crop of 1, and a scale of infinity be taken."""
    classes = configurations()

    assert {Augment, Decoding, Redecoding, Compute, Budget} <= {*classes, *Voc.__mro__}
    assert [] == [model for model in classes if not issubclass(model, Settings)]
    assert [] == [
        model
        for model in [*classes, MaskDecoding]
        for rule in ("frozen", "extra", "allow_inf_nan")
        if model.model_config.get(rule) != Settings.model_config[rule]  # type: ignore[literal-required]
    ]


@pytest.mark.parametrize(
    "model, fields",
    [
        (Augment, {"crop": True}),
        (Augment, {"window": [8, 8], "scale": [0.5, float("inf")]}),
        (Augment, {"window": [True, 8]}),
        (Decoding, {"size": True}),
        (Decoding, {"channels": True}),
        (Decoding, {"shape": [4, True]}),
        (MaskDecoding, {"values": {0: 300}}),
    ],
)
def test_numbers_are_numbers(model: type[BaseModel], fields: dict[str, Any]) -> None:
    """`true` would be 1, and infinity a size."""
    with pytest.raises(ValidationError):
        model.model_validate(fields)
    assert Augment(window=(8, 8), scale=(0.5, 2), flip=True).flip


class Numbers(Settings):
    whole: int = 0
    broken: float | None = None
    text: str = ""


@pytest.mark.parametrize("value", [1e31, -1e308, 10**18, "1" + "0" * 18, 10**400])
@pytest.mark.parametrize("field", ["whole", "broken"])
def test_a_number_that_torch_cannot_hold_is_refused(field: str, value: object) -> None:
    """A learning rate of 1e308 or a batch of 10^18 would end in a traceback."""
    with pytest.raises(ValidationError, match=r"at most 1e\+(15|30) in size"):
        Numbers.model_validate({field: value})
    assert Numbers(whole=10**15, broken=-1e30, text="1" * 30)
