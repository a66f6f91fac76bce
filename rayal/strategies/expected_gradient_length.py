"""Expected gradient length: the norm of the loss gradient, expected over the possible labels.

Source: Settles, Craven & Ray, "Multiple-instance active learning" (NeurIPS 2007), Sec. 3; the
alternative that the name of Wang et al. (AAAI 2022) suggests and their formula is not, see
`expected_gradnorm`.

With `parameters: last_layer` the norm is a closed form of logits and features. With `all` it takes
one forward and as many backward passes as there are classes.
"""

from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from rayal.signals.batch import Signals
from rayal.signals.gradients.norms import PerUnitGradients, last_layer_norms
from rayal.signals.signal import Requirement, SignalName
from rayal.strategies.base import Strategy


class ExpectedGradientLength(Strategy):
    """sum_i p_i ||grad CE(z, i)||, the global L2 norm: 0 or more."""

    needs: ClassVar[frozenset[SignalName]] = frozenset({"probs", "features", "model", "images"})
    parameters: Literal["last_layer", "all"] = "last_layer"
    """Whose gradient: that of the last linear layer, or of all parameters."""

    def requires(self) -> frozenset[Requirement]:
        return super().requires() | {"weights"}  # by which the gradients are taken

    def score(self, s: Signals) -> Tensor:
        probs = s.probs
        labels = torch.eye(probs.shape[1], device=probs.device).unbind()  # one-hot, per class
        if self.parameters == "all":
            gradients = PerUnitGradients(s.model, s.images)
            squares = [gradients.squared_norms(probs - label).sum(dim=1) for label in labels]
        else:
            bias = cast(Any, s.model).classifier.bias is not None
            squares = [last_layer_norms(probs - label, s.features, bias) for label in labels]
        return (probs.double() * torch.stack(squares, dim=1).double().sqrt()).sum(dim=1)
