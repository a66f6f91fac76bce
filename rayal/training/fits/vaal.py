"""VAAL's fit: labeled images have the truth 1, candidates 0. See strategy `vaal`."""

from typing import Any, ClassVar

import torch
from pydantic import PositiveInt

from rayal.training.fits._adversarial import AdversarialFitting, AdversarialSpec, Side
from rayal.training.fits.base import FitBatch, Scene


class VaalSpec(AdversarialSpec):
    """VAAL's autoencoder and discriminator, and how they learn.

    For images of 32 px 22,835,139 and 280,065 weights.
    """

    name: ClassVar[str] = "vaal"

    vae_steps: PositiveInt = 2
    """Steps of the autoencoder, each with a new batch, before each of the discriminator, which
    learns from the last of them. 2 is official; the ports of others have 1."""

    def start(self, companion: Any, scene: Scene) -> "VaalFitting":
        return VaalFitting(self, companion, scene)


class VaalFitting(AdversarialFitting):
    """Neither model nor labels are looked at."""

    def sides(self, batch: FitBatch, step: int) -> tuple[Side, Side]:
        ones, zeros = (
            torch.full((len(images),), truth, device=images.device)
            for images, truth in ((batch.labeled, 1.0), (batch.candidates, 0.0))
        )
        return Side(batch.labeled, ones), Side(batch.candidates, zeros)
