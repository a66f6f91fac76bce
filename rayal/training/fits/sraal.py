"""SRAAL's fit: candidates that the model is certain of are to be taken for labeled ones.

See strategy `sraal`. C classes.
"""

from typing import Any, ClassVar

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn.functional import cross_entropy

from rayal.models.companions.variational import Decoded
from rayal.training.fits._adversarial import AdversarialFitting, AdversarialSpec, Side
from rayal.training.fits.base import FitBatch, Scene


class SraalSpec(AdversarialSpec):
    """SRAAL's autoencoder, with a classifier on its latent numbers, and its discriminator.

    For images of 32 px and 10 classes 25,353,025 and 280,065 weights.
    """

    name: ClassVar[str] = "sraal"

    classification: NonNegativeFloat = 1.0
    """Weight of the classifier's cross-entropy with the labels of labeled images."""

    def extras(self, classes: int) -> tuple[int, int]:
        return 0, classes

    def start(self, companion: Any, scene: Scene) -> "SraalFitting":
        return SraalFitting(self, companion, scene)


class SraalFitting(AdversarialFitting):
    """The truth of a candidate is 1 - `uncertainty` of what the model, in eval mode, says of it."""

    spec: SraalSpec

    def sides(self, batch: FitBatch, step: int) -> tuple[Side, Side]:
        ones = torch.ones(len(batch.labeled), device=batch.labeled.device)
        certainty = 1 - uncertainty(self.scene.ask(batch.candidates).logits.softmax(dim=1))
        return Side(batch.labeled, ones), Side(batch.candidates, certainty)

    def terms(
        self,
        sides: tuple[Side, Side],
        decoded: list[Decoded],
        judged: list[Tensor],
        batch: FitBatch,
    ) -> dict[str, Tensor]:
        logits = decoded[0].logits
        assert logits is not None, "the spec asks for a classifier"
        loss = self.spec.classification * cross_entropy(logits, batch.labels)
        return super().terms(sides, decoded, judged, batch) | {"classification": loss}


def uncertainty(probs: Tensor) -> Tensor:
    """U of N C, in [0, 1): U = 1 - max p * minVar / Var.

    Var is the variance over the C classes (divided by C), minVar that of the prediction of the same
    maximum whose other classes are equal: (max p - 1 / C)^2 / (C - 1). So it is 1 - max p of such
    predictions, and more where few classes compete. An even one, where both are 0, has 1 - 1 / C by
    convention, less than those that are nearly even.
    """
    classes, highest = probs.shape[1], probs.amax(dim=1)
    variance = ((probs - 1 / classes) ** 2).mean(dim=1)
    least = (highest - 1 / classes) ** 2 / (classes - 1)
    ratio = torch.where(variance > 0, least / variance, 1.0).clamp(max=1)
    return 1 - ratio * highest
