"""Heads on vectors: what they compute, and what they refuse."""

import pytest
import torch
from torch.nn import functional as F

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.linear_head import LinearHead
from rayal.models.architectures.mlp_head import MlpHead
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build
from rayal.testing.model import spec

VECTORS = ImageSpec.of((6,), (0.0,) * 6, (1.0,) * 6, "float16")


def test_a_linear_head_is_a_linear_layer() -> None:
    """Features of a strategy would be others than those of the frozen network."""
    network, x = build(LinearHead(), 3, VECTORS, seed=0).eval(), torch.randn(5, 6)
    outputs = network(x)

    assert 3 * 6 + 3 == sum(p.numel() for p in network.parameters())
    assert x.equal(outputs.features)
    last = network.classifier
    torch.testing.assert_close(outputs.logits, F.linear(x, last.weight, last.bias))  # type: ignore[union-attr]


def test_a_perceptron_written_out() -> None:
    """The hidden layers would be in another order, or one without its ReLU."""
    network, x = build(MlpHead(hidden=(5, 4)), 3, VECTORS, seed=0).eval(), torch.randn(7, 6)
    weights = [p.detach() for p in network.parameters()]
    first = F.relu(F.linear(x, *weights[0:2]))
    second = F.relu(F.linear(first, *weights[2:4]))
    outputs = network(x)

    torch.testing.assert_close(outputs.logits, F.linear(second, *weights[4:6]))
    assert second.equal(outputs.features)
    assert [(7, 5), (7, 4)] == [tuple(layer.shape) for layer in outputs.layers]


def test_heads_and_networks_for_images_are_told_apart() -> None:
    """A run would end in its first step, with torch's words."""
    with pytest.raises(UsageError, match="vectors of features.*these are pictures.*choose one of"):
        build(LinearHead(), 3, spec(8, 8), seed=0)
    with pytest.raises(UsageError, match="these are vectors.*one of: knn_head, linear_head"):
        build(SmallCnn(), 3, VECTORS, seed=0)
