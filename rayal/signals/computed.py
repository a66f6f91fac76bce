"""What a model says about one batch, computed: each number on first use, and once.

N images of the batch, C classes, D features; * is nothing for classification, H W for segmentation.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from rayal.data.pixels import pooled, upsampled
from rayal.models.base import Outputs
from rayal.models.batch_norm import batch_statistics
from rayal.models.companions.base import EmbeddingCompanion, EmbeddingSpec
from rayal.models.device import sent
from rayal.models.network import DenseNetwork, Network, Staged, computing
from rayal.randomness import unit_keys, unit_uniforms
from rayal.signals.dropout import UnitNoise, dropout_layers, unit_dropout
from rayal.signals.gradients.norms import entropy_gradient_norms
from rayal.signals.networks import Networks, Reference, forward

T = TypeVar("T")


class Computed:
    """The numbers of one batch, shared by all strategies."""

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

    @property
    def sizes(self) -> list[tuple[int, int]] | None:
        """Height and width of each image in pixels, where some are filled up; else None."""
        if self.valid is None:
            return None
        if self._sizes is None:  # nobody said so: a GPU is waited for
            sides = self.valid.any(dim=2).sum(dim=1), self.valid.any(dim=1).sum(dim=1)
            self._sizes = torch.stack(sides, dim=1).tolist()
        return [(height, width) for height, width in self._sizes]

    def all_finite(self) -> bool:
        """Whether all numbers are finite that were computed so far, for whichever strategy."""
        return all(map(_finite, self._values.values()))

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


def _finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    return not isinstance(value, list | tuple) or all(map(_finite, value))
