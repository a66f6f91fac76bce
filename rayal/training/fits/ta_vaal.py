"""TA-VAAL's fit: VAAL's, with the rank of each image beside its latent numbers.

See strategy `ta_vaal`.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rayal.models.companions.loss_head import LossHeadSpec
from rayal.training.fits._adversarial import AdversarialSpec, Side
from rayal.training.fits.base import FitBatch, Scene
from rayal.training.fits.vaal import VaalFitting


class TaVaalSpec(AdversarialSpec):
    """TA-VAAL's autoencoder and discriminator, and how they learn.

    For images of 32 px 22,851,523 and 280,577 weights.
    """

    name: ClassVar[str] = "ta_vaal"

    first_ranks: Literal["predicted", "random"] = "predicted"
    """What ranks of the fit's very first step are: those of the ranker, as in all others; or
    `random` (official), uniform in [0, 1), the same for decoder and discriminator."""

    def extras(self, classes: int) -> tuple[int, int]:
        return 1, 0

    def start(self, companion: Any, scene: Scene) -> "TaVaalFitting":
        return TaVaalFitting(self, companion, scene)


class TaVaalFitting(VaalFitting):
    """The discriminator reads the rank r, the decoder sigmoid(r), the encoder neither; r has no
    gradient, and comes of a model in eval mode."""

    spec: TaVaalSpec

    def sides(self, batch: FitBatch, step: int) -> tuple[Side, Side]:
        labeled, candidates = super().sides(batch, step)
        return self._ranked(labeled, step), self._ranked(candidates, step)

    def _ranked(self, side: Side, step: int) -> Side:
        if step == 0 and self.spec.first_ranks == "random":
            uniform = torch.rand(len(side.images), 1, device=side.images.device)
            return side._replace(to_decoder=uniform, to_discriminator=uniform)
        ranks = self.ranks(side.images)
        return side._replace(to_decoder=ranks.sigmoid(), to_discriminator=ranks)

    @torch.no_grad()
    def ranks(self, images: Tensor) -> Tensor:
        """B 1 of B M H W: the predicted loss, any number."""
        ranker = self.scene.companions.of(LossHeadSpec)
        return ranker.predict(self.scene.ask(images).layers)[:, None]
