"""TA-VAAL: VAAL whose discriminator also reads how large a loss of the model is predicted.

Source: Kim, Park, Kim & Chun, "Task-Aware Variational Adversarial Active Learning" (CVPR 2021);
official code cubeyoung/TA-VAAL, 1161071 ("the code"). The ranker that predicts the loss is the head
of LL4AL (`loss_head.py`) with the logistic objective, and learns with the model. Autoencoder and
discriminator (`variational.py`) are fitted when both are done, as in the code, one step of each
with every batch: see `training/fits/ta_vaal.py`.

Differences:
- In the code the fit's first step has random ranks (`first_ranks: random`).
- The code scores in train mode, so that images decide about each other (`score_mode: train`).
- The code goes through labeled units and candidates in one order, again and again; here each pass
  has an order of its own.
- In the code every method trains with the ranker's loss, random selection too, since a condition is
  always true. Here only what asks for it does.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import field_validator
from torch import Tensor

from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.loss_head import LossHeadSpec
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies._adversarial import AdversarialStrategy
from rayal.training.fits.base import FitSpec
from rayal.training.fits.ta_vaal import TaVaalSpec


class TaVaal(AdversarialStrategy):
    """-logit D(mu(x), r(x)), D the discriminator, mu the latent mean and r the predicted loss.

    Any number, of which only the order means anything.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"images", "layers", "companion"})
    ranker: LossHeadSpec = LossHeadSpec(objective="logistic")
    """What predicts the loss, and how it learns to: `logistic` unless its `objective` is given. As
    long as it is not detached it changes what the model learns."""
    ta_vaal: TaVaalSpec = TaVaalSpec()
    """Autoencoder and discriminator, and how they learn."""

    @field_validator("ranker", mode="before")
    @classmethod
    def _logistic(cls, given: Any) -> Any:
        """Its objective, where other options alone are given."""
        return {"objective": "logistic", **given} if isinstance(given, Mapping) else given

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.ranker,)

    def fits(self) -> tuple[FitSpec, ...]:
        return (self.ta_vaal,)

    @torch.no_grad()
    def score(self, s: Signals) -> Tensor:
        ranks = s.companion(LossHeadSpec).predict(s.layers)
        return self.unlike(s.companion(TaVaalSpec), s, ranks[:, None])
