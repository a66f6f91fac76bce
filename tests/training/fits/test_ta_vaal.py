"""TA-VAAL's fit: where the rank comes from, and who reads it how."""

import pytest
import torch

from rayal.models.companions.loss_head import LossHeadSpec
from rayal.signals.networks import forward
from rayal.testing.bench import Bench
from rayal.training.fits.ta_vaal import TaVaalSpec
from tests.training.fits.test_adversarial import BESIDE, SMALL, batch, fitting


@pytest.mark.parametrize("first_ranks", ["predicted", "random"])
def test_ranks_are_those_of_the_ranker(first_ranks: str) -> None:
    """The discriminator reads the rank itself, the decoder its sigmoid; in the official code the
    very first step has random ones, the same for both."""
    bench, shown = Bench(BESIDE), batch()
    made = fitting(TaVaalSpec.model_validate(SMALL | {"first_ranks": first_ranks}), bench)
    ranker = made.scene.companions.of(LossHeadSpec)

    for step in (0, 1):
        for side in made.sides(shown, step):
            expected = ranker.predict(forward(bench.networks[0], side.images).layers)[:, None]
            assert side.to_decoder is not None and side.to_discriminator is not None
            assert not side.to_discriminator.requires_grad
            if step == 0 and first_ranks == "random":
                assert torch.equal(side.to_decoder, side.to_discriminator)
                assert (0 <= side.to_decoder).all() and (side.to_decoder < 1).all()
                assert len(side.to_decoder.unique()) == len(shown.labeled)
            else:
                assert torch.equal(expected, side.to_discriminator)
                assert torch.equal(expected.sigmoid(), side.to_decoder)


def test_what_is_true_is_as_in_vaal() -> None:
    """The discriminator would learn the wrong way round."""
    labeled, candidates = fitting(TaVaalSpec.model_validate(SMALL)).sides(batch(), 1)

    assert labeled.truth.eq(1).all() and candidates.truth.eq(0).all()
