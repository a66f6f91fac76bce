"""Per-image gradient norms with respect to all parameters of a network."""

from rayal.signals.gradients.norms import (
    PerUnitGradients,
    entropy_gradient_norms,
    gradient_norms,
    last_layer_norms,
)

__all__ = ["PerUnitGradients", "entropy_gradient_norms", "gradient_norms", "last_layer_norms"]
