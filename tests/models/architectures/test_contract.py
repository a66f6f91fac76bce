"""What every network promises, for each file in rayal/models/architectures; and what rayal's own
keep beyond that."""

from typing import Any

import pytest
import torch

from rayal.errors import UsageError
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.parts import find, names
from rayal.testing import ModelContract
from rayal.testing.model import spec
from tests.support.backbones import TINY
from tests.support.doubles import card_of

NARROW: dict[str, dict[str, object]] = {
    "small_cnn": {"width": 4},
    "resnet18": {"width": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
    "torchvision": {"arch": "mobilenet_v3_small"},
    "timm": {"arch": "test_resnet", "args": {"zero_init_last": False}},
    "transformers": {"config": {"model_type": "dinov2", **TINY}},
}
"""Options that make a model small enough for tests."""
PACKAGES = ("timm", "transformers")
"""Models that are a package of others, which may not be there."""


@pytest.fixture(scope="module", params=names("models"))
def model(request: pytest.FixtureRequest) -> Model:
    if request.param in PACKAGES:
        pytest.importorskip(request.param)
    made: Model = find("models", request.param).model_validate(NARROW.get(request.param, {}))
    return made


class TestModels(ModelContract):
    @pytest.fixture(autouse=True)
    def _each(self, model: Model) -> None:
        self.part = model

    def test_three_to_five_layers(self) -> None:
        """Companions that read every block would have none to read, or far too many."""
        network: Any = self._network()

        if self.part.part_name() == "transformers":
            pytest.skip("it has none, as its pages say")
        least = 3 if self.part.dimensions else 1
        assert least <= len(network.layer_channels) <= 5
        assert len(network.blocks) == len(network.layer_channels)

    def test_a_file_says_what_it_is_of(self) -> None:
        """Weights could not be used without the run that made them."""
        card = card_of(self.part, 5, self.image)

        assert ModelCard.model_validate_json(card.model_dump_json()) == card

    @pytest.mark.parametrize("channels", [1, 4])
    def test_channels_that_are_refused_are_named(self, channels: int) -> None:
        """The first batch would end in torch's error about a convolution."""
        image = spec(*self.image.sides, channels=channels)
        if not self.part.takes(image):
            with torch.device("meta"):
                assert build(self.part, 5, image, seed=0).training
            return
        with pytest.raises(UsageError, match=f"3 channels, not {channels}"):
            build(self.part, 5, image, seed=0)
