"""SRAAL: VAAL whose discriminator lets candidates pass for labeled that the model is certain of.

Source: Zhang, Li, Yang, Wang, Wang & Huang, "State-Relabeling Adversarial Active Learning" (CVPR
2020). Reference: the authors released no code; wenxuanou/SRAAL_Realization, 97b4511 ("the code"),
is by others, from the laboratory of expected gradient norms (`expected_gradnorm`), which compares
with SRAAL. Networks are in `variational.py`, what is learned in `training/fits/sraal.py`.

Differences from the paper:
- Its discriminator's loss has log(U - D) for candidates, which is none where D > U. Here, as in the
  code, it is the cross-entropy with the truth 1 - U.
- It chooses the first labeled units by k-center in a latent space. Here they are random, unless the
  experiment says `first: core_set`: k-center in the features of the classifier's network before any
  training, the same units for all strategies of a seed.
- All learn when the model's training is over, once per cycle; in the paper beside it. The model's U
  is so that of the model which is asked.
- The divergence of labeled images counts once; the paper has it with each of the two decoders.

Differences from the code:
- There no gradient of the discriminator reaches the encoder, so that nobody plays against it.
- Errors and divergence are sums there (`divergence: sum` has the latter), and U is of the model in
  train mode; here both are means, and the model is in eval mode.
- It scores in train mode (`score_mode: train`), with flips and crops (`score_transform: train`).
- The discriminator learns from means before the autoencoder's step, here from those after it, as in
  VAAL's code.
- Its k-center is in the codes of an untrained autoencoder, ten units at a time; with `first:
  core_set` each unit is the farthest from all before it.
"""

from typing import ClassVar

from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.signal import SignalName
from rayal.strategies._adversarial import AdversarialStrategy
from rayal.training.fits.base import FitSpec
from rayal.training.fits.sraal import SraalSpec


class Sraal(AdversarialStrategy):
    """-logit D(mu(x)), D in [0, 1] the discriminator, 1 for labeled, and mu the latent mean.

    Any number, of which only the order means anything.
    """

    needs: ClassVar[frozenset[SignalName]] = frozenset({"images", "companion"})
    sraal: SraalSpec = SraalSpec()
    """Autoencoder, classifier and discriminator, and how they learn."""

    def fits(self) -> tuple[FitSpec, ...]:
        return (self.sraal,)

    def score(self, s: Signals) -> Tensor:
        return self.unlike(s.companion(SraalSpec), s)
