"""What a model says about one batch, each signal computed on first use, once for all strategies.

N images of the batch, C classes, D features; * is nothing for classification, H W for segmentation,
where h w is the logit grid: the coarser one on which dense networks predict.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from rayal.data.pixels import on_grid
from rayal.errors import UsageError
from rayal.models.companions.base import (
    Companion,
    EmbeddingSpec,
    Makes,
)
from rayal.models.device import sent
from rayal.signals.computed import Computed
from rayal.signals.networks import Reference
from rayal.signals.signal import SIGNAL_NAMES, SignalName

C = TypeVar("C", bound=Companion)
T = TypeVar("T")


class Signals(Computed):
    """The signals of one batch, as one strategy may read them.

    Reading a signal that the strategy does not declare in `needs` raises UsageError: only declared
    signals can be planned, and their cost be shared. `ids`, `cycle`, `valid` and `sizes` are free.
    """

    _owner: str = ""
    _needs: frozenset[SignalName] = SIGNAL_NAMES
    _reference: Reference | None = None
    _embeds: EmbeddingSpec | None = None

    def declared_by(
        self,
        owner: str,
        needs: frozenset[SignalName],
        reference: Reference | None,
        embeds: EmbeddingSpec | None = None,
    ) -> "Signals":
        """The same batch, and the same computed values, limited to what `owner` declares."""
        view = copy.copy(self)
        view._owner, view._needs, view._reference = owner, needs, reference
        view._embeds = embeds
        return view

    @property
    def images(self) -> Tensor:
        """N C H W, normalised: the escape hatch for methods that run their own forward."""
        return self._declared("images", lambda: self._images)

    @property
    def model(self) -> nn.Module:
        """The current network, in eval mode."""
        return self._declared("model", lambda: self._networks.model)

    @property
    def grid_logits(self) -> Tensor:
        """N C, or N C h w as the network gives them, float32."""
        return self._declared("grid_logits", self._grid_logits)

    @property
    def grid_entropy(self) -> Tensor:
        """N 2 + h w: height and width of the logit grid, and the entropy at each of its places in
        nats; 0 where the image is filled up. Raises UsageError where the network has no grid."""
        return self._declared("grid_entropy", self._grid_entropy)

    @property
    def logits(self) -> Tensor:
        """N C *, float32; of dense networks at every pixel, interpolated."""
        return self._declared("logits", self._logits)

    @property
    def log_probs(self) -> Tensor:
        """N C *, log softmax of the logits: finite however certain the model is."""
        return self._declared("log_probs", self._log_probs)

    @property
    def probs(self) -> Tensor:
        """N C *, softmax of the logits."""
        return self._declared("probs", self._probs)

    @property
    def features(self) -> Tensor:
        """N D, float32: the input of the last linear layer, pooled over the image."""
        return self._declared("features", lambda: self._once("features", self._features))

    @property
    def embedding(self) -> Tensor:
        """N E, float32: what a companion makes of the features, see `Strategy.embeds`."""
        assert self._embeds is not None, f"{self._owner} does not say whose embedding it reads"
        return self._declared("embedding", partial(self._embedding, self._embeds))

    @property
    def layers(self) -> tuple[Tensor, ...]:
        """Per block N C_l H_l W_l."""
        return self._declared("layers", lambda: self._outputs().layers)

    @property
    def previous_probs(self) -> Tensor:
        """N C *, what the strategy's reference model (see `Strategy.reference`) says."""
        assert self._reference is not None, f"{self._owner} has no reference in this cycle"
        return self._declared("previous_probs", partial(self._reference_probs, self._reference))

    @property
    def gradient_norms(self) -> Tensor:
        """N T, float32: the squared L2 norm of the gradient of the prediction's entropy with
        respect to each of the model's T parameter tensors."""
        return self._declared("gradient_norms", self._gradient_norms)

    def mc_log_probs(self, passes: int, batch_statistics: bool = False) -> Tensor:
        """S N C *: log softmax of `passes` forwards with dropout on and all else in eval mode; with
        `batch_statistics`, batch norm normalises by the batch, and keeps nothing of it.

        The masks are a function of seed, cycle, unit id and pass; the first passes of more are
        those of fewer.
        """
        compute = partial(self._mc_log_probs, passes, batch_statistics)
        return self._declared("mc_log_probs", compute)

    @property
    def ensemble_log_probs(self) -> Tensor:
        """S N C *: log softmax of each member's logits, the model's own first."""
        return self._declared("ensemble_log_probs", self._ensemble_log_probs)

    def companion(self, spec: type[Makes[C]]) -> C:
        """What a spec of this type put beside the model in training, in eval mode."""
        return self._declared("companion", lambda: self._networks.companions.of(spec))

    def constant(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The same for every batch of the pass: computed at its first use on each worker."""
        constants, own = self._networks.constants, (self._owner, key)
        if own not in constants:
            constants[own] = compute()
        return constants[own]

    @property
    def noise(self) -> Tensor:
        """N, uniform in [0, 1): a function of seed, cycle and unit id only. float64."""
        return self._declared("noise", self._noise)

    def _declared(self, name: SignalName, compute: Callable[[], T]) -> T:
        if name not in self._needs:
            raise UsageError(
                f"strategy {self._owner!r} reads the signal {name!r}; add it to its `needs`"
            )
        return compute()

    def _grid_entropy(self) -> Tensor:
        values = entropy(self._grid_logits().log_softmax(dim=1))  # N h w
        size = values.shape[1:]
        if not size:
            raise UsageError(
                f"strategy {self._owner!r} reads 'grid_entropy', which only dense networks have;"
                " take 'classification' out of its `tasks`"
            )
        if self.valid is not None:
            values = values * on_grid(self.valid, size)
        sides = sent(torch.tensor(size, dtype=values.dtype), values.device)
        return torch.cat([sides.expand(len(values), 2), values.flatten(1)], dim=1)


def entropy(log_probs: Tensor) -> Tensor:
    """Shannon entropy in nats, N C * -> N *, from log probabilities. 0 to ln C.

    exp(l) * l is 0 where l is very negative, so a certain prediction gives 0 and not NaN.
    """
    return -(log_probs.exp() * log_probs).sum(dim=1)
