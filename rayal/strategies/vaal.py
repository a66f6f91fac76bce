"""VAAL: images first that a discriminator takes least for labeled ones, by an autoencoder's code.

Source: Sinha, Ebrahimi & Darrell, "Variational Adversarial Active Learning" (ICCV 2019), Sec. 3;
official code sinhasam/vaal, 67263f3 ("the code"). Both networks are in `variational.py`, how they
learn in `training/fits/_adversarial.py`.

Differences:
- Autoencoder and discriminator learn when the model's training is over, once per cycle; in the code
  step by step beside it. Neither sees the other there, so only the number of steps is another: of
  the code that of the model's training, here `epochs` passes over labeled units and candidates, as
  in the ports of TA-VAAL and of Caramalau et al. (CVPR 2021).
- The code adds up the divergence over batch and latent numbers, beside a mean squared error, which
  it drowns (`divergence: sum`); TA-VAAL's has the mean, as the default here.
- The code scores in train mode, so that images decide about each other, and flips what it scores.
  Here it is in eval mode, and nothing is flipped; `score_mode: train` is batch norm as in the code,
  `score_transform: train` of the run its flips.
- In the code a validation at the first step leaves the model itself in eval mode for the rest of
  its training, here where `scheme.train_mode: first_step` of `supervised` says so.
- The code leaves out the last, smaller batch of labeled images; here batches run on from one pass
  over them to the next.
"""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies._adversarial import AdversarialStrategy
from rayal.training.fits.base import FitSpec
from rayal.training.fits.vaal import VaalSpec


class Vaal(AdversarialStrategy):
    """-logit D(mu(x)), D in [0, 1] the discriminator, 1 for labeled, and mu the latent mean.

    Any number, of which only the order means anything.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"images", "companion"})
    vaal: VaalSpec = VaalSpec()
    """Autoencoder and discriminator, and how they learn."""

    def fits(self) -> tuple[FitSpec, ...]:
        return (self.vaal,)

    def score(self, s: Signals) -> Tensor:
        return self.unlike(s.companion(VaalSpec), s)
