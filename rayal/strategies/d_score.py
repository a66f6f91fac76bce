"""D-score: images first whose predictions the discriminator of s4GAN takes least for true masks.

Source: Mittal et al., "Parting with Illusions about Deep Active Learning" (2019), where it is
called SSL-D-score and found no better than random images under the same training. There is no code
for it; of s4GAN there is, see `discriminator.py`.

The discriminator is the one that `s4gan` trains with, so `discriminator` has to be the same in
both. Here it drops no channels, and sees whole images, where in training it sees windows.
"""

from typing import ClassVar

import torch
from torch import Tensor

from rayal.data.tasks.base import TaskName
from rayal.models.companions.base import CompanionSpec
from rayal.models.companions.discriminator import Discriminator, DiscriminatorSpec, Judged
from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies.base import Strategy


class DScore(Strategy):
    """-D(softmax of the prediction, image): -1, a mask as people draw them, to 0.

    An image that is filled up to the size of its batch is cut out before D sees it, so its filling
    counts nowhere: the score is the same as of that prediction without it.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs", "images", "companion"})
    tasks: ClassVar[frozenset[TaskName]] = frozenset({"segmentation"})
    discriminator: DiscriminatorSpec = DiscriminatorSpec()
    """What is asked: the discriminator of the scheme, with the same options as there."""

    def companions(self) -> tuple[CompanionSpec, ...]:
        return (self.discriminator,)

    @torch.no_grad()
    def score(self, s: Signals) -> Tensor:
        discriminator = s.companion(DiscriminatorSpec)
        if s.sizes is None:
            return -_judged(discriminator, s.probs, s.images)
        pieces = [
            _judged(discriminator, s.probs[i : i + 1, :, :h, :w], s.images[i : i + 1, :, :h, :w])
            for i, (h, w) in enumerate(s.sizes)
        ]
        return -torch.cat(pieces)


def _judged(discriminator: Discriminator, probs: Tensor, images: Tensor) -> Tensor:
    judged: Judged = discriminator(probs, images)
    return judged.probability
