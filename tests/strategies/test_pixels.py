"""Strategies that give every pixel a number: how these become the score of an image."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rayal.data.pixels import valid_pixels
from rayal.models.companions.teacher import EmaTeacherSpec
from rayal.parts import build, find, names
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from rayal.strategies.base import PixelStrategy
from tests.support.doubles import Says

PIXEL_STRATEGIES = [
    name for name in names("strategies") if issubclass(find("strategies", name), PixelStrategy)
]


def score(strategy: PixelStrategy, logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """Of networks that all say these logits, N C h w, of images of 8x12 pixels."""
    images = torch.zeros(len(logits), 3, 8, 12)
    says, other = Says(logits).eval(), Says(logits.flip(1)).eval()
    networks = Networks(says, {"previous": other, EmaTeacherSpec: other}, (other,), cycle=1)
    ids = [f"unit-{i}" for i in range(len(logits))]
    signals = Signals(ids, images, networks, valid=valid)
    name = strategy.part_name()
    return strategy.score(signals.declared_by(name, strategy.needs, strategy.reference(1)))


def logits(seed: int = 0) -> Tensor:
    return 3 * torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(seed))


def test_there_are_some():
    """All tests below would pass for none."""
    expected = {"entropy", "margin", "least_confidence", "cod", "ensemble_entropy", "bald"}
    assert expected < set(PIXEL_STRATEGIES)


@pytest.mark.parametrize("name", PIXEL_STRATEGIES)
def test_the_default_is_the_mean_over_the_pixels_of_the_image(name):
    """Filling, or the places of the grid in place of pixels, would decide."""
    strategy, maps = build("strategies", name), logits()
    valid = valid_pixels(torch.tensor([[8, 12], [5, 7]]), 8, 12)
    seen = []
    kind = type(strategy)

    class Watched(kind):
        def values(self, s: Signals) -> Tensor:
            seen.append(super().values(s))
            return seen[-1]

    Watched.__module__ = kind.__module__
    found = score(Watched(), maps, valid)
    (values,) = seen

    assert (2, 8, 12) == values.shape
    expected = [values[0].mean().item(), values[1, :5, :7].mean().item()]
    assert expected == pytest.approx(found.tolist(), rel=1e-5)


def test_counting_pixels_above_a_threshold():
    """Of `entropy` the published rule: pixels above 0.6 nats, at every pixel, not on the grid."""
    options = {"name": "entropy", "pixels": "above", "threshold": 0.6}
    strategy, maps = build("strategies", options), logits()
    p = torch.nn.functional.interpolate(maps.double(), (8, 12), mode="bilinear").softmax(1)
    entropies = -(p * p.log()).sum(1)

    found = score(strategy, maps)
    assert (entropies > 0.6).sum((1, 2)).tolist() == found.tolist()
    assert 0 < found.min() and found.max() < 96


@pytest.mark.parametrize(
    ("options", "lowest"),
    [({"pixels": "max"}, -1e-3), ({"pixels": "above", "threshold": -0.5}, 1)],
)
def test_thresholds_are_in_the_unit_of_the_strategy(options, lowest):
    """A margin is at most 0: a threshold of 0.6, as for entropies, would count nothing, and all
    images tie. So there is none where none is given."""
    tie = torch.zeros(1, 4, 4, 6)

    assert score(build("strategies", {"name": "margin", **options}), tie).item() >= lowest
    with pytest.raises(ValidationError, match="above needs a threshold"):
        build("strategies", {"name": "margin", "pixels": "above"})


@pytest.mark.parametrize("pixels", ["mean", "max"])
def test_a_threshold_that_counts_nothing_is_refused(pixels):
    """`threshold: 0.6` alone reads like the paper's rule, and would be the mean."""
    with pytest.raises(ValidationError, match=f"0.6 counts nothing with pixels: {pixels}; set pix"):
        build("strategies", {"name": "entropy", "pixels": pixels, "threshold": 0.6})
    with pytest.raises(ValidationError, match="threshold 0 counts nothing with pixels: mean"):
        build("strategies", {"name": "entropy", "threshold": 0})


@pytest.mark.parametrize("pixels", ["mean", "max", "above"])
@pytest.mark.parametrize("name", PIXEL_STRATEGIES)
def test_an_image_with_a_pixel_without_a_number_has_none(name, pixels):
    """Under `above` it would be one of which nobody is uncertain (G01); the others keep theirs."""
    threshold = {"threshold": 0.2} if pixels == "above" else {}
    strategy = build("strategies", {"name": name, "pixels": pixels, **threshold})
    sick = logits()
    sick[0, :, 2, 3] = torch.nan

    found = score(strategy, sick)
    assert found[0].isnan()
    assert score(strategy, logits())[1] == found[1]
