"""The gradient-norm strategies against loops of one image at a time and values by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.stats import spearmanr
from torch import Tensor, nn

from rayal.models.base import Outputs
from rayal.parts import build
from rayal.signals.batch import Signals
from rayal.signals.networks import Networks


class Linear(nn.Module):
    """Logits are the features, times a weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.classifier = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.classifier.weight.copy_(weight)
            self.classifier.bias.zero_()

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.classifier(images), images, ())


def score(name: str, model: nn.Module, images: Tensor, **fields: object) -> Tensor:
    strategy = build("strategies", {"name": name, **fields})
    signals = Signals([f"unit-{i}" for i in range(len(images))], images, Networks(model.eval()))
    return strategy.score(signals.declared_by(name, strategy.needs, None))


def norms(model: nn.Module, image: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The L2 norm of each parameter tensor's gradient, for a batch of one image."""
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss(model(image[None]).logits), parameters)
    return torch.stack([gradient.double().norm() for gradient in gradients])


def entropy(logits: Tensor) -> Tensor:
    probs = logits.softmax(1)
    return -(probs * logits.log_softmax(1)).sum()


def expected(logits: Tensor) -> Tensor:
    """Sum_i p_i CE(z, i), p not held constant, as the official code has it."""
    classes = range(logits.shape[1])
    losses = torch.stack([F.cross_entropy(logits, torch.tensor([i])) for i in classes])
    return (logits.softmax(1)[0] * losses).sum()


@pytest.mark.parametrize("loss", [entropy, expected])
@pytest.mark.parametrize("name", ["entropy_gradnorm", "expected_gradnorm"])
def test_agrees_with_one_image_at_a_time(bench, name, loss):
    """The batch would leave tensors out, or mix images; both names are one function."""
    model = bench.networks[0]
    each = [norms(model, image, loss) for image in bench.images]

    torch.testing.assert_close(
        torch.stack([norm.sum() for norm in each]),
        score(name, model, bench.images),
        rtol=1e-3,
        atol=1e-6,
    )
    torch.testing.assert_close(
        torch.stack([norm.norm() for norm in each]),
        score(name, model, bench.images, norm="global"),
        rtol=1e-3,
        atol=1e-6,
    )


def test_hand_value():
    """Two classes at p = .8: |dH/dz| = .8 * .2 * ln 4 for both logits; features (1, 0)."""
    weight = torch.tensor([[np.log(4.0), 0.0], [0.0, 0.0]])
    slope = 0.16 * np.log(4.0)
    model, image = Linear(weight), torch.tensor([[1.0, 0.0]])

    assert score("entropy_gradnorm", model, image).item() == pytest.approx(2 * 2**0.5 * slope)
    assert score("entropy_gradnorm", model, image, norm="global").item() == pytest.approx(2 * slope)


def test_is_zero_where_the_prediction_is_uniform_or_certain():
    """It is no measure of uncertainty: a paper's reader may expect the opposite."""
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    images = torch.tensor([[0.0, 0.0], [40.0, 0.0], [2.0, 0.0]])
    uniform, certain, between = score("entropy_gradnorm", Linear(weight), images).tolist()

    assert uniform == pytest.approx(0, abs=1e-6) and certain == pytest.approx(0, abs=1e-6)
    assert between > 0.5


def test_norms_bound_each_other(bench):
    """The sum is the published number, the global norm the one of the bound: max <= global <= sum
    <= sqrt(T) global."""
    model = bench.networks[0]
    total = score("entropy_gradnorm", model, bench.images)
    whole = score("entropy_gradnorm", model, bench.images, norm="global")
    tensors = len(list(model.parameters()))

    assert (whole <= total * (1 + 1e-6)).all()
    assert (total <= tensors**0.5 * whole * (1 + 1e-6)).all()
    assert spearmanr(total, whole).statistic > 0.8


@pytest.mark.parametrize("parameters", ["last_layer", "all"])
def test_expected_gradient_length_agrees_with_a_loop(bench, parameters):
    """The expectation would slip inside the norm, where it is another method."""
    model = bench.networks[0]
    chosen = model.classifier if parameters == "last_layer" else model
    lengths = []
    for image in bench.images:
        logits = model(image[None]).logits
        parts = [
            torch.autograd.grad(
                F.cross_entropy(logits, torch.tensor([i])),
                list(chosen.parameters()),
                retain_graph=True,
            )
            for i in range(logits.shape[1])
        ]
        norm = torch.stack([torch.cat([g.flatten() for g in part]).norm() for part in parts])
        lengths.append((logits.softmax(1)[0] * norm).sum().detach().double())

    torch.testing.assert_close(
        torch.stack(lengths),
        score("expected_gradient_length", model, bench.images, parameters=parameters),
        rtol=1e-4,
        atol=1e-6,
    )


def test_expected_gradient_length_by_hand():
    """p = (.8, .2), features (3, 4): sum_i p_i |p - e_i| sqrt(25 + 1) = .64 sqrt(.5) sqrt(26)."""
    weight = torch.tensor([[np.log(4.0) / 3, 0.0], [0.0, 0.0]])
    image = torch.tensor([[3.0, 4.0]])
    by_hand = 2 * 0.8 * 0.2 * 2**0.5 * 26**0.5

    got = score("expected_gradient_length", Linear(weight), image).item()

    assert got == pytest.approx(by_hand)


def test_the_degenerate_form_is_no_option():
    """With p held constant the expected gradient is 0: the ranking would be rounding noise."""
    with pytest.raises(ValidationError, match="detach"):
        build("strategies", {"name": "expected_gradnorm", "detach": True})


def test_with_probabilities_held_constant_there_is_no_gradient(bench):
    """What the refused form would rank by."""
    model = bench.networks[0]

    def detached(logits: Tensor) -> Tensor:
        return -(logits.softmax(1).detach() * logits.log_softmax(1)).sum()

    held = torch.stack([norms(model, image, detached).sum() for image in bench.images])
    used = torch.stack([norms(model, image, entropy).sum() for image in bench.images])

    assert held.max() < 1e-4 * used.max()
