"""rayal/models/naming.py: the network in somebody's file, whatever stands before its names."""

import logging

import pytest
import torch
from torch import Tensor
from torchvision import models

from rayal.errors import UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.torchvision import Torchvision
from rayal.models.build import count_classes
from rayal.models.naming import in_own_names
from tests.support.networks import DIGITS, small

MODEL = SmallCnn(width=4)
WEIGHTS = dict(small().state_dict())


def under(prefix: str, weights: dict[str, Tensor] = WEIGHTS) -> dict[str, Tensor]:
    return {prefix + name: weight for name, weight in weights.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "module._orig_mod.", "encoder.model.", "blocks.", "a.b.c."]
)
def test_whatever_is_before_all_names_is_taken_off(
    prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What DataParallel, Lightning, torch.compile and own modules save would fit no network."""
    found = in_own_names(small(), under(prefix), MODEL, "a.pt")

    assert all(found[name] is weight for name, weight in WEIGHTS.items())
    assert WEIGHTS.keys() == found.keys() and "" == caplog.text


def test_what_is_beside_the_network_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """A count of an averaged model, or a weight of the loss, would make the file unusable."""
    theirs = {**under("model."), "criterion.weight": torch.ones(4), "n": torch.tensor(5)}
    with caplog.at_level(logging.WARNING):
        assert WEIGHTS.keys() == in_own_names(small(), theirs, MODEL, "a.pt").keys()

    assert (
        "under 'model.'; 2 weights beside it are left out: 'criterion.weight', 'n'" in caplog.text
    )


def test_what_is_among_the_weights_stays() -> None:
    """A layer that this architecture lacks would vanish without a word."""
    assert "extra" in in_own_names(small(), {**WEIGHTS, "extra": torch.ones(1)}, MODEL, "a.pt")


def test_a_network_that_is_there_twice_is_not_chosen() -> None:
    """Teacher or student: nobody would know which was scored."""
    copy = {name: weight.clone() for name, weight in WEIGHTS.items()}
    twice = {**under("student."), **under("teacher.", copy)}

    with pytest.raises(UsageError, match="network 2 times, under 'student.', 'teacher.'; save one"):
        in_own_names(small(), twice, MODEL, "a.pt")
    assert WEIGHTS.keys() == in_own_names(small(), under("teacher.", copy), MODEL, "a.pt").keys()


def test_prefixes_that_were_tried_are_named() -> None:
    """The user would be told of a missing layer, and not that all names are strange."""
    theirs = {f"trunk.stage{n}.w": torch.ones(1) for n in range(20)}

    with pytest.raises(UsageError, match=r"its 20 weights, first 'trunk.stage0.w', .*also without"):
        in_own_names(small(), theirs, MODEL, "a.pt")
    renamed = dict(zip(WEIGHTS, theirs.values(), strict=False))  # rename its weights
    assert renamed == in_own_names(small(), renamed, MODEL, "a.pt")


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "alexnet"])
def test_classes_are_counted(arch: str) -> None:
    """The user would have to give their number; a file may hold its weights in any order."""
    model, image = (
        Torchvision(arch=arch),
        DIGITS.model_copy(
            update={"channels": 3, "height": 64, "width": 64, "mean": (0.0,) * 3, "std": (1.0,) * 3}
        ),
    )
    with torch.device("meta"):
        weights = models.get_model(arch, num_classes=7).state_dict()

    assert 7 == count_classes(weights, model, image, "a.pt")
    assert 7 == count_classes(dict(sorted(under("net.", weights).items())), model, image, "a.pt")


def test_classes_that_cannot_be_counted_are_not_guessed() -> None:
    """A hidden layer would be taken for the last one."""
    theirs = {
        ("last" + n.removeprefix("classifier") if "classifier" in n else n): w
        for n, w in WEIGHTS.items()
    }

    with pytest.raises(
        UsageError, match="has not the last layer .*; it has 'last.weight', 'last.b"
    ):
        count_classes(theirs, MODEL, DIGITS, "a.pt")
    assert 3 == count_classes(WEIGHTS, MODEL, DIGITS, "a.pt")
