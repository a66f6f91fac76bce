"""What a model says about one batch, each signal computed on first use, once for all strategies.

N images of the batch, C classes, D features; * is nothing for classification, H W for segmentation,
where h w is the logit grid: the coarser one on which dense networks predict.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from rayal.data.pixels import on_grid, pooled, upsampled
from rayal.errors import UsageError
from rayal.models.base import Outputs, Precision
from rayal.models.batch_norm import batch_statistics
from rayal.models.companions.base import (
    Companion,
    Companions,
    EmbeddingCompanion,
    EmbeddingSpec,
    Makes,
)
from rayal.models.companions.teacher import Teacher
from rayal.models.device import sent
from rayal.models.network import DenseNetwork, Network, Staged, computing
from rayal.randomness import unit_keys, unit_uniforms
from rayal.signals.dropout import UnitNoise, dropout_layers, unit_dropout
from rayal.signals.gradients.norms import entropy_gradient_norms
from rayal.signals.signal import SIGNAL_NAMES, SignalName

Reference = Literal["previous", "initial", "random"] | type[Makes[Teacher]]
"""The other model of `previous_probs`: the last cycle's; this run's own weights before its first
training; a network of random weights that was never trained; or the teacher that a spec of this
type, one of the strategy's `companions`, has put beside the model."""

C = TypeVar("C", bound=Companion)
T = TypeVar("T")


@dataclass(frozen=True)
class Networks:
    """What a scoring pass predicts with, on one device, all in eval mode; opened once a worker."""

    model: nn.Module
    references: Mapping[Reference, nn.Module] = field(default_factory=dict)
    members: Sequence[nn.Module] = ()
    """The ensemble's other members."""
    companions: Companions = field(default_factory=Companions)
    seed: int = 0
    cycle: int = 0
    precision: Precision = "fp32"
    constants: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    """What strategies compute once a pass, by strategy and key, see `Signals.constant`."""


class Signals:
    """The signals of one batch, as one strategy may read them.

    Reading a signal that the strategy does not declare in `needs` raises UsageError: only declared
    signals can be planned, and their cost be shared. `ids`, `cycle`, `valid` and `sizes` are free.
    """

    def __init__(
        self,
        ids: Sequence[str],
        images: Tensor,
        networks: Networks,
        kept_probs: Tensor | None = None,
        valid: Tensor | None = None,
        sizes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """`images` N C H W, normalised, on the networks' device; `kept_probs` N C, what the last
        cycle's model says of this batch, where its own pass has kept it; `valid` N H W, which
        pixels are of an image, where some are filling, and `sizes` the same as numbers."""
        assert not networks.model.training, "scoring needs eval mode: batch norm would mix a batch"
        self.ids, self.cycle, self.valid = ids, networks.cycle, valid
        self._images, self._networks, self._kept_probs = images, networks, kept_probs
        self._sizes = sizes
        self._values: dict[str, Any] = {}
        self._owner, self._needs = "", SIGNAL_NAMES
        self._reference: Reference | None = None
        self._embeds: EmbeddingSpec | None = None

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

    @property
    def sizes(self) -> list[tuple[int, int]] | None:
        """Height and width of each image in pixels, where some are filled up; else None."""
        if self.valid is None:
            return None
        if self._sizes is None:  # nobody said so: a GPU is waited for
            sides = self.valid.any(dim=2).sum(dim=1), self.valid.any(dim=1).sum(dim=1)
            self._sizes = torch.stack(sides, dim=1).tolist()
        return [(height, width) for height, width in self._sizes]

    def constant(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The same for every batch of the pass: computed at its first use on each worker."""
        constants, own = self._networks.constants, (self._owner, key)
        if own not in constants:
            constants[own] = compute()
        return constants[own]

    def all_finite(self) -> bool:
        """Whether all numbers are finite that were computed so far, for whichever strategy."""
        return all(map(_finite, self._values.values()))

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
        return self._once("outputs", lambda: self._forward(self._networks.model))

    def _forward(self, network: nn.Module) -> Outputs:
        return forward(network, self._images, self._networks.precision)

    def _features(self) -> Tensor:
        outputs = self._outputs()
        if self.valid is None:
            return outputs.features.float()
        return pooled(outputs.layers[-1].float(), self.valid)

    def _embedding(self, spec: EmbeddingSpec) -> Tensor:
        def compute() -> Tensor:
            companion: EmbeddingCompanion = self._networks.companions.of(type(spec))
            return companion.embed(self._once("features", self._features))

        return self._once(f"embedding of the {spec.name}", compute)

    def _grid_logits(self) -> Tensor:
        return self._once("grid_logits", lambda: self._outputs().logits.float())

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

    def _logits(self) -> Tensor:
        return self._once("logits", lambda: self._everywhere(self._grid_logits()))

    def _everywhere(self, logits: Tensor) -> Tensor:
        """N C as they are, N C h w at every pixel, in float32."""
        return upsampled(logits.float(), self._images.shape[2:])

    def _log_probs(self) -> Tensor:
        return self._once("log_probs", lambda: self._logits().log_softmax(dim=1))

    def _probs(self) -> Tensor:
        return self._once("probs", lambda: self._log_probs().exp())

    def _reference_probs(self, reference: Reference) -> Tensor:
        def compute() -> Tensor:
            if reference == "previous" and self._kept_probs is not None:
                return self._kept_probs.float()
            logits = self._forward(self._networks.references[reference]).logits
            logits = self._everywhere(logits)
            return logits.log_softmax(dim=1).exp()  # as `probs`: equal models are 0 apart

        return self._once(f"{reference}_probs", compute)

    def _gradient_norms(self) -> Tensor:
        def compute() -> Tensor:
            model = self._networks.model
            with computing(self._images.device, self._networks.precision):
                norms: Tensor = entropy_gradient_norms(model, self._images, self.valid)
            return norms

        return self._once("gradient_norms", compute)

    def _mc_log_probs(self, passes: int, by_batch: bool) -> Tensor:
        model, how = self._networks.model, " by the batch" * by_batch
        done: list[Tensor] = self._once(f"mc_log_probs{how}", list)
        noise = self._once(f"dropout noise{how}", self._dropout_noise)
        with batch_statistics(model) if by_batch else nullcontext():
            noisy_logits = self._noisy_logits(f"outputs{how}")
            with unit_dropout(model, noise):
                while len(done) < passes:
                    done.append(self._everywhere(noisy_logits()).log_softmax(dim=1))
        return torch.stack(done[:passes])

    def _dropout_noise(self) -> UnitNoise:
        keys = unit_keys(self.ids, self._networks.seed, self.cycle, "dropout")
        return UnitNoise(keys, self._images.device)

    def _noisy_logits(self, outputs: str) -> Callable[[], Tensor]:
        """What to call while dropout is on. Where only what the last layer reads is dropped, this
        is that of the forward without, kept as `outputs`, and only the last layer is computed
        again."""
        model, precision = self._networks.model, self._networks.precision
        known = type(model) in (Network, DenseNetwork)  # no other forward than theirs
        if not (known and isinstance(model, Staged)) or dropout_layers(model) != [model.dropout]:
            return lambda: self._forward(model).logits
        whole = self._once(outputs, partial(self._forward, model))  # now: dropout is still off
        last = model.last(whole)

        def classify() -> Tensor:
            with torch.no_grad(), computing(last.device, precision):
                return model.classify(last)

        return classify

    def _ensemble_log_probs(self) -> Tensor:
        def compute() -> Tensor:
            others = [self._forward(member).logits for member in self._networks.members]
            logits = [self._logits(), *map(self._everywhere, others)]
            return torch.stack(logits).log_softmax(dim=2)

        return self._once("ensemble_log_probs", compute)

    def _noise(self) -> Tensor:
        def compute() -> Tensor:
            uniforms = unit_uniforms(self.ids, self._networks.seed, self.cycle, "noise")
            return sent(torch.from_numpy(np.ascontiguousarray(uniforms)), self._images.device)

        return self._once("noise", compute)


def forward(model: nn.Module, images: Tensor, precision: Precision = "fp32") -> Outputs:
    """One forward without gradients."""
    with torch.no_grad(), computing(images.device, precision):
        outputs: Outputs = model(images)
    return outputs


def _finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    return not isinstance(value, list | tuple) or all(map(_finite, value))


def entropy(log_probs: Tensor) -> Tensor:
    """Shannon entropy in nats, N C * -> N *, from log probabilities. 0 to ln C.

    exp(l) * l is 0 where l is very negative, so a certain prediction gives 0 and not NaN.
    """
    return -(log_probs.exp() * log_probs).sum(dim=1)
