"""The shapes of networks: what they return, by hand, and how they start."""

from typing import Any, cast

import pytest
import torch
from torch import nn

import rayal.signals.computed
from rayal.data.card import ImageSpec
from rayal.models.base import Model
from rayal.models.build import build
from rayal.models.network import DenseNetwork, Network, last_layer
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks
from tests.support.networks import DIGITS, small


class Doubling(Model):
    """One weight, so that an output can be computed by hand."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        block = nn.Conv2d(1, 1, kernel_size=1, bias=False)
        classifier = nn.Linear(4, num_classes)
        network = Network(
            blocks=[block], layer_channels=[1], head=nn.Flatten(), classifier=classifier
        )
        nn.init.constant_(block.weight, 2)
        nn.init.constant_(classifier.weight, 1)
        nn.init.constant_(classifier.bias, 0.5)
        return network


def test_outputs_by_hand() -> None:
    """Strategies would read features or block outputs of the wrong place."""
    image = DIGITS.model_copy(update={"height": 2, "width": 2})
    network = build(Doubling(), 1, image, seed=0)

    outputs = network(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))

    assert [[20.5]] == outputs.logits.tolist()
    assert [[2.0, 4.0, 6.0, 8.0]] == outputs.features.tolist()
    assert [[[[[2.0, 4.0], [6.0, 8.0]]]]] == [layer.tolist() for layer in outputs.layers]


def test_dropout_acts_on_the_logits_alone() -> None:
    """MC-dropout would have nothing to draw, or features would differ from forward to forward."""
    network = small(dropout=0.5).eval()
    cast(Any, network).dropout.train()
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = network(images), network(images)

    assert torch.equal(first.features, second.features)
    assert not torch.equal(first.logits, second.logits)


@pytest.mark.parametrize(
    ("layer", "linear"),
    [
        (nn.Linear(4, 3), True),
        (nn.Conv2d(4, 3, kernel_size=1, bias=False), True),
        (nn.Conv2d(4, 3, kernel_size=3), False),
        (nn.Conv2d(6, 3, kernel_size=1, groups=3), False),
        (nn.Sequential(nn.Linear(4, 3)), False),
    ],
)
def test_only_a_linear_map_per_position_is_a_last_layer(layer: nn.Module, linear: bool) -> None:
    """A strategy would take a weight for C D that is no such matrix."""
    network = nn.Module()
    network.classifier = layer

    assert last_layer(network) is (layer if linear else None)


def doubling(dropout: float = 0.0) -> DenseNetwork:
    """Adds 1, doubles, then halves the resolution; logits are 3 x + 0.5 and -x."""
    stem, double, classifier = (nn.Conv2d(1, n, kernel_size=1) for n in (1, 1, 2))
    assert stem.bias is not None and double.bias is not None and classifier.bias is not None
    network = DenseNetwork(
        stem=stem,
        blocks=[double, nn.MaxPool2d(2, ceil_mode=True)],
        layer_channels=[1, 1],
        classifier=classifier,
        dropout=dropout,
    )
    with torch.no_grad():
        stem.weight.fill_(1)
        stem.bias.fill_(1)
        double.weight.fill_(2)
        double.bias.fill_(0)
        classifier.weight.copy_(torch.tensor([3.0, -1.0]).view(2, 1, 1, 1))
        classifier.bias.copy_(torch.tensor([0.5, 0.0]))
    return network


class Whole(DenseNetwork):
    """A network that rayal knows nothing of: each pass is a whole forward."""


def test_a_pass_with_dropout_is_the_last_layer_again(monkeypatch) -> None:
    """Ten passes over a large image would cost ten forwards, or give other numbers without."""

    def signals(kind: type[DenseNetwork]) -> Signals:
        network = doubling(dropout=0.5).eval()
        network.__class__ = kind
        images = torch.arange(24.0).reshape(2, 1, 3, 4)
        return Signals(["a", "b"], images, Networks(network, cycle=1))

    expected = signals(Whole).mc_log_probs(3)
    calls, forward = [], rayal.signals.computed.forward
    monkeypatch.setattr(
        rayal.signals.computed, "forward", lambda *given: calls.append(1) or forward(*given)
    )

    assert torch.equal(expected, signals(DenseNetwork).mc_log_probs(3))
    assert 1 == len(calls) and not torch.equal(expected[0], expected[1])


def test_dense_outputs_by_hand() -> None:
    """Strategies would read features or block outputs of the wrong place."""
    outputs = doubling()(torch.tensor([[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]]))

    assert [[[[30.5, 36.5]], [[-10.0, -12.0]]]] == outputs.logits.tolist()
    assert [[11.0]] == outputs.features.tolist()
    assert [[[[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]]] == outputs.layers[0].tolist()
    assert [[[[10.0, 12.0]]]] == outputs.layers[1].tolist()


def test_dropout_of_dense_networks_acts_on_the_logits_alone() -> None:
    """MC-dropout would have nothing to draw, or features would differ from forward to forward."""
    network, images = doubling(dropout=0.5).train(), torch.ones(1, 1, 16, 16)
    outputs = network(images)

    assert {4.0} == set(outputs.features.flatten().tolist())
    assert {4.0} == set(outputs.layers[-1].flatten().tolist())
    assert {0.5, 24.5} == set(outputs.logits[:, 0].flatten().tolist())  # 3 * 8 + 0.5: kept, doubled
    assert torch.equal(network.eval().classify(outputs.layers[-1]), network(images).logits)


def test_convolutions_start_as_hes_and_the_classifier_as_it_comes() -> None:
    """Training would start at another scale, or an architecture could not choose its last layer."""
    torch.manual_seed(0)
    stem, block = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 256, 1)
    classifier = nn.Conv2d(256, 4, 1)
    before = classifier.weight.clone()
    DenseNetwork(stem=stem, blocks=[block], layer_channels=[256], classifier=classifier)

    assert (2 / (9 * 64)) ** 0.5 == pytest.approx(stem.weight.std().item(), rel=0.05)
    assert (2 / 256) ** 0.5 == pytest.approx(block.weight.std().item(), rel=0.05)
    assert torch.equal(before, classifier.weight)
