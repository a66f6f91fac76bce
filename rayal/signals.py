"""What a model says about one batch, each signal computed on first use, once for all strategies.

N images of the batch, C classes, D features; * is nothing for classification, H W for segmentation.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.model import Outputs, Precision, computing
from rayal.randomness import unit_uniforms

SignalName = Literal[
    "images",
    "model",
    "logits",
    "log_probs",
    "probs",
    "features",
    "layers",
    "previous_probs",
    "noise",
]
SIGNAL_NAMES: frozenset[SignalName] = frozenset(get_args(SignalName))

Reference = Literal["previous", "initial", "random"]
"""The other model of `previous_probs`: the last cycle's; this run's own weights before its first
training; or a network of random weights that was never trained."""

T = TypeVar("T")


class Signals:
    """The signals of one batch, as one strategy may read them.

    Reading a signal that the strategy does not declare in `needs` raises UsageError: only declared
    signals can be planned, and their cost be shared. `ids` and `cycle` are free.
    """

    def __init__(
        self,
        ids: Sequence[str],
        images: Tensor,
        model: nn.Module,
        references: Mapping[Reference, nn.Module | Tensor],
        *,
        seed: int,
        cycle: int,
        precision: Precision = "fp32",
    ) -> None:
        """`images` N C H W, normalised, on the model's device; a reference is a network in eval
        mode, or its probabilities for this batch where an earlier pass has kept them."""
        assert not model.training, "scoring needs eval mode: batch norm would mix the batch"
        self.ids, self.cycle = ids, cycle
        self._images, self._model = images, model
        self._references, self._seed, self._precision = references, seed, precision
        self._values: dict[str, Any] = {}
        self._owner, self._needs = "", SIGNAL_NAMES
        self._reference: Reference | None = None

    def declared_by(
        self, owner: str, needs: frozenset[SignalName], reference: Reference | None
    ) -> "Signals":
        """The same batch, and the same computed values, limited to what `owner` declares."""
        view = copy.copy(self)
        view._owner, view._needs, view._reference = owner, needs, reference
        return view

    @property
    def images(self) -> Tensor:
        """N C H W, normalised: the escape hatch for methods that run their own forward."""
        return self._declared("images", lambda: self._images)

    @property
    def model(self) -> nn.Module:
        """The current network, in eval mode."""
        return self._declared("model", lambda: self._model)

    @property
    def logits(self) -> Tensor:
        """N C *, float32."""
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
        """N D, float32: the input of the last linear layer, pooled."""
        return self._declared("features", lambda: self._outputs().features.float())

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
    def noise(self) -> Tensor:
        """N, uniform in [0, 1): a function of seed, cycle and unit id only. float64."""
        return self._declared("noise", self._noise)

    def _declared(self, name: SignalName, compute: Callable[[], T]) -> T:
        if name not in self._needs:
            raise UsageError(
                f"strategy {self._owner!r} reads the signal {name!r}; add it to its `needs`"
            )
        return compute()

    def _once(self, name: str, compute: Callable[[], T]) -> T:
        if name not in self._values:
            self._values[name] = compute()
        return cast(T, self._values[name])

    def _outputs(self) -> Outputs:
        return self._once("outputs", lambda: forward(self._model, self._images, self._precision))

    def _logits(self) -> Tensor:
        return self._once("logits", lambda: self._outputs().logits.float())

    def _log_probs(self) -> Tensor:
        return self._once("log_probs", lambda: self._logits().log_softmax(dim=1))

    def _probs(self) -> Tensor:
        return self._once("probs", lambda: self._log_probs().exp())

    def _reference_probs(self, reference: Reference) -> Tensor:
        def compute() -> Tensor:
            source = self._references[reference]
            if isinstance(source, Tensor):
                return source.float()
            return forward(source, self._images, self._precision).logits.float().softmax(dim=1)

        return self._once(f"{reference}_probs", compute)

    def _noise(self) -> Tensor:
        def compute() -> Tensor:
            uniforms = unit_uniforms(self.ids, self._seed, self.cycle, "noise")
            return torch.from_numpy(np.ascontiguousarray(uniforms))

        return self._once("noise", compute)


def forward(model: nn.Module, images: Tensor, precision: Precision = "fp32") -> Outputs:
    """One forward without gradients."""
    with torch.no_grad(), computing(images.device, precision):
        outputs: Outputs = model(images)
    return outputs


def entropy(log_probs: Tensor) -> Tensor:
    """Shannon entropy in nats, N C * -> N *, from log probabilities. 0 to ln C.

    exp(l) * l is 0 where l is very negative, so a certain prediction gives 0 and not NaN.
    """
    return -(log_probs.exp() * log_probs).sum(dim=1)
