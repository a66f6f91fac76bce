"""Per-image gradient norms with respect to all parameters, exactly and without a loop over images.

N images, C classes, T parameter tensors; * is nothing for classification, and the positions h w of
the logit grid for segmentation.

One forward notes what every torch function with parameters was given, one backward gives the
gradients of their outputs (and never that of a weight); the norms of each layer follow from both.
"""

import logging
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from rayal.data.pixels import on_grid, per_image
from rayal.models.base import Outputs
from rayal.signals.gradients.layers import widened
from rayal.signals.gradients.trace import Trace

logger = logging.getLogger(__name__)

FALLBACK_BYTES = 2**29
"""What the gradients of the images of one step of the fallback take; one image may take more."""


def gradient_norms(model: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """N T: squared L2 norm of the gradient of each image's loss, per parameter tensor.

    `loss` takes the logits, N C *, to one number per image, N, that depends on its own logits only.
    See `PerUnitGradients` for the columns.
    """
    gradients = PerUnitGradients(model, images)
    with torch.inference_mode(False), torch.enable_grad():
        logits = gradients.logits.requires_grad_()
        (slopes,) = torch.autograd.grad(loss(logits).sum(), logits)
    return gradients.squared_norms(slopes)


def entropy_gradient_norms(model: nn.Module, images: Tensor, valid: Tensor | None = None) -> Tensor:
    """N T, as `gradient_norms`, for the entropy of the prediction in nats, its mean over *.

    Of a dense prediction the mean over the logit grid, where pixels that are not `valid` (N H W)
    do not count. 0 for a uniform prediction and for a certain one.
    Source: the AAAI 2022 gradient norm paper, entropy-gradnorm; its expected-gradnorm is the same
    function, since sum_i p_i CE_i = -sum_i p_i log p_i.
    Difference: from log softmax, where the official code clamps probabilities.
    """
    return gradient_norms(model, images, partial(_entropy, valid))


def _entropy(valid: Tensor | None, logits: Tensor) -> Tensor:
    log_probs = logits.log_softmax(dim=1)
    entropies = -(log_probs.exp() * log_probs).sum(dim=1)
    return per_image(entropies, None if valid is None else on_grid(valid, logits.shape[2:]))


def last_layer_norms(logit_gradients: Tensor, features: Tensor, bias: bool) -> Tensor:
    """N: squared norm for the last linear layer alone, |d|^2 (|a|^2 + 1), from N C and N D."""
    return logit_gradients.square().sum(1) * (features.square().sum(1) + bias)


class PerUnitGradients:
    """One forward of a network in eval mode; then the norms for any gradients at the logits.

    T columns, in the order of `model.named_parameters()`: all parameters, frozen ones too, as the
    loss has a gradient there all the same; a parameter that the logits do not depend on has 0.
    float64 for networks in float64, else float32, whatever autocast does to the forward.

    A parameter that is used outside the functions in `LAYERS`, or twice, has no batched form: all
    of such a network is differentiated by torch.func.vmap, many times slower, and a warning says
    so once. Networks are only read: flags, `.grad`, buffers and hooks stay as they are.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        """`images` N C H W, on the model's device; the model returns `Outputs`.

        Raises UsageError for batch norm without running statistics: it mixes images in eval mode.
        """
        assert not model.training, "gradients per image need eval mode: batch norm mixes images"
        self._model = model
        with torch.inference_mode(False), torch.enable_grad():
            self._images = images.clone()
            self._trace = Trace(model, self._images)
            self._unknown = self._trace.unknown
            if self._trace.ambiguous and not self._unknown:  # with more images it is not
                one_more = torch.cat([self._images, self._images[:1]])
                self._unknown = Trace(model, one_more).unknown
        if self._unknown:
            _warn(type(model).__qualname__, tuple(self._unknown.items()))

    @property
    def logits(self) -> Tensor:
        """N C *, at least float32, without gradient."""
        return self._trace.logits.detach()

    def squared_norms(self, logit_gradients: Tensor) -> Tensor:
        """N T, for a loss whose gradient at each image's logits, N C *, is this."""
        with torch.inference_mode(False):
            slopes = logit_gradients.detach().to(self._trace.logits)
            if self._unknown:
                return _one_by_one(self._model, self._images, slopes)
            with torch.no_grad(), torch.autocast(slopes.device.type, enabled=False):
                return self._batched(slopes)

    def _batched(self, slopes: Tensor) -> Tensor:
        norms = slopes.new_zeros(len(slopes), len(self._trace.names))
        taps = self._trace.taps
        if not taps or not self._trace.logits.requires_grad:
            return norms
        gradients = torch.autograd.grad(
            self._trace.logits,
            [tap.output for tap in taps],
            slopes,
            retain_graph=True,
            allow_unused=True,
        )
        for tap, gradient in zip(taps, gradients, strict=True):
            if gradient is not None and tap.weight is not None:
                norms[:, tap.weight] = tap.layer.weight_norms(gradient)
            if gradient is not None and tap.bias is not None:
                norms[:, tap.bias] = tap.layer.bias_norms(gradient)
        return norms


@cache
def _warn(network: str, unknown: tuple[tuple[str, str], ...]) -> None:
    """Once for a kind of network."""
    shown = ", ".join(f"{name} ({reason})" for name, reason in unknown[:3])
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    logger.warning(
        "gradient norms of %s take a gradient per image, which is slow: no batched form for %s%s",
        network,
        shown,
        more,
    )


def _one_by_one(model: nn.Module, images: Tensor, slopes: Tensor) -> Tensor:
    """N T, with the gradients of some images at a time in memory."""
    parameters = {id(p): p.detach() for p in model.parameters()}
    buffers = dict(model.named_buffers())
    # A module that occurs twice is named once: functional_call would not restore it otherwise.
    places = {
        f"{path}.{name}" if path else name: id(p)
        for path, module in model.named_modules()
        for name, p in module.named_parameters(recurse=False, remove_duplicate=False)
    }

    def norms(image: Tensor, slope: Tensor) -> Tensor:
        def logits(parameters: dict[int, Tensor]) -> Tensor:
            state = {place: parameters[key] for place, key in places.items()} | buffers
            outputs: Outputs = functional_call(model, state, (image[None],), tie_weights=False)
            return widened(outputs.logits[0])

        backward = vjp(logits, parameters)[1]
        (gradients,) = backward(slope)
        return torch.stack([widened(g).square().sum() for g in gradients.values()])

    size = sum(p.numel() * p.element_size() for p in parameters.values())
    chunk = max(1, FALLBACK_BYTES // max(1, size))
    result: Tensor = vmap(norms, chunk_size=chunk)(images, slopes)
    return result
