"""The two heads of ADS: by hand, against loops of numpy, and how they go with the last layer."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.linear_head import LinearHead
from rayal.models.architectures.mlp_head import MlpHead
from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.companions.head_pair import HeadPair, HeadPairSpec, LinearPair, PrototypePair

N, C, D, P = 5, 4, 6, 3
KINDS = pytest.mark.parametrize("prototypes", [0, P], ids=["linear", "prototypes"])


def pair(prototypes: int) -> tuple[HeadPair, Outputs]:
    """A pair, and what a model says of five images."""
    torch.manual_seed(3)
    model = nn.Module()
    model.trunk = nn.Linear(1, 1)
    model.classifier = nn.Linear(D, C)
    made = HeadPairSpec(prototypes=prototypes).build(model, C, lambda: model)
    features = torch.randn(N, D)
    return made, Outputs(model.classifier(features), features, ())


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def naive(made: HeadPair, outputs: Outputs) -> NDArray[np.float64]:
    """Logits of both heads, one number after the other."""
    features, mean = (each.detach().double().numpy() for each in (outputs.features, outputs.logits))
    found = np.zeros((2, N, C))
    weights = {name: value.double().numpy() for name, value in made.state_dict().items()}
    for n in range(N):
        for c in range(C):
            if isinstance(made, LinearPair):
                weight, bias = weights["half_difference.weight"], weights["half_difference.bias"]
                half = weight[c] @ features[n] + bias[c]
                found[:, n, c] = mean[n, c] + half, mean[n, c] - half
                continue
            for head in range(2):
                seen = sigmoid(weights[f"maps.{head}.weight"] @ features[n])
                rows = [weights["prototypes"][head][p * C + c] for p in range(P)]
                norms = [np.linalg.norm(seen) * np.linalg.norm(row) for row in rows]
                cosines = [row @ seen / norm for row, norm in zip(rows, norms, strict=True)]
                found[head, n, c] = max(cosines) / 0.05
    return found


@KINDS
def test_logits_are_those_of_a_loop(prototypes: int) -> None:
    """Rows of prototypes would be of other classes, or a head see the other's map."""
    made, outputs = pair(prototypes)

    np.testing.assert_allclose(made(outputs).detach(), naive(made, outputs), rtol=1e-4)


@KINDS
def test_what_they_say_is_that_of_a_loop(prototypes: int) -> None:
    """Losses would be of another scale, or the entropy of what is no distribution."""
    made, outputs = pair(prototypes)
    logits, labels = naive(made, outputs), np.arange(N) % C
    losses, apart, entropies = np.zeros(N), np.zeros(N), np.zeros(N)
    for n in range(N):
        if prototypes:
            sure = sigmoid(logits[:, n])
            truth = np.eye(C)[labels[n]]
            losses[n] = -(truth * np.log(sure) + (1 - truth) * np.log(1 - sure)).sum()
        else:
            sure = np.exp(logits[:, n]) / np.exp(logits[:, n]).sum(1, keepdims=True)
            losses[n] = -np.log(sure[:, labels[n]]).sum()
        apart[n] = np.abs(sure[0] - sure[1]).mean()
        shares = sure / sure.sum(1, keepdims=True)
        entropies[n] = -(shares * np.log(shares)).sum() / 2
    found = torch.from_numpy(logits)

    np.testing.assert_allclose(made.losses(found, torch.from_numpy(labels)), losses)
    np.testing.assert_allclose(made.disagreement(found), apart)
    np.testing.assert_allclose(made.entropy(found), entropies)
    assert 0 < apart.min() and 0 < entropies.min() and entropies.max() < math.log(C)


def test_entropy_by_hand() -> None:
    """A head that is certain of a class, and one that halves between two: (0 + ln 2) / 2."""
    linear, _ = pair(0)
    logits = torch.tensor([[[80.0, 0, 0, 0]], [[50.0, 50, -50, -50]]])

    assert math.log(2) / 2 == pytest.approx(linear.entropy(logits).item())
    # half of the mass of two classes is elsewhere: (1/2 + 1/2 + 0 + 0) / 4
    assert 0.25 == pytest.approx(linear.disagreement(logits).item())


def test_entropy_of_sigmoids_by_hand() -> None:
    """Sigmoids 1/2 and 1/4 are 2/3 and 1/3 of their sum; all alike are ln C, however small."""
    _, outputs = pair(P)
    two = PrototypePair(D, 2, P)
    logits = torch.tensor([0.0, -math.log(3)]).expand(2, 1, 2)
    expected = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))

    assert expected == pytest.approx(two.entropy(logits).item())
    assert math.log(2) == pytest.approx(two.entropy(torch.full((2, 1, 2), -90.0)).item())


@KINDS
def test_certain_heads_have_finite_numbers(prototypes: int) -> None:
    """A logarithm of 0 would stop the run of a model that is sure."""
    made, _ = pair(prototypes)
    logits = (torch.randn(2, N, C) * 1e5).requires_grad_()
    entropies, apart = made.entropy(logits), made.disagreement(logits)
    losses = made.losses(logits, torch.zeros(N, dtype=torch.long))
    (gradient,) = torch.autograd.grad((entropies + apart + losses).sum(), logits)

    assert all(each.isfinite().all() for each in (entropies, apart, losses, gradient))


def test_heads_that_are_alike_agree() -> None:
    """Rounding would push apart what is the same."""
    linear, outputs = pair(0)
    prototypes, _ = pair(P)
    with torch.no_grad():
        linear.half_difference.weight.zero_()  # type: ignore[union-attr, operator]
        linear.half_difference.bias.zero_()  # type: ignore[union-attr, operator]
        prototypes.maps[1].weight.copy_(prototypes.maps[0].weight)  # type: ignore[index]
        prototypes.prototypes[1] = prototypes.prototypes[0]  # type: ignore[index]
    for made in (linear, prototypes):
        assert [0.0] * N == pytest.approx(made.disagreement(made(outputs)).tolist(), abs=1e-7)


def test_the_models_logits_are_the_mean_of_linear_heads() -> None:
    """Evaluation and other strategies would ask one head, or neither."""
    made, outputs = pair(0)

    torch.testing.assert_close(outputs.logits, made(outputs).mean(0))
    assert made.disagreement(made(outputs)).min() > 1e-3


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_are_the_official_ones() -> None:
    """Another network learns another curve. The official one has 11,168,832 weights in the backbone
    and 11,723,840 in all; here the model's own last layer is beside them, 5,130."""
    image = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    model = build(Resnet18(), 10, image, seed=0)
    last = weights(model.classifier)  # type: ignore[arg-type]
    prototypes, linear = (
        weights(HeadPairSpec(prototypes=p).build(model, 10, lambda: model)) for p in (3, 0)
    )

    assert (5_130, 11_168_832) == (last, weights(model) - last)
    assert 555_008 == prototypes
    assert 11_723_840 == weights(model) - last + prototypes
    assert 5_130 == linear


def test_a_prototype_is_a_row_of_its_class() -> None:
    """Row p C + c is of class c: an image that sees one prototype is of that class."""
    made = PrototypePair(D, C, P)
    for row in range(P * C):
        with torch.no_grad():
            made.prototypes.zero_()
            made.prototypes[:, row] = 1.0  # a direction that a sigmoid can have
        logits: Tensor = made(Outputs(torch.zeros(1, C), torch.zeros(1, D), ()))

        assert [20.0, row % C] == pytest.approx([logits[0].max().item(), logits[0].argmax().item()])


def test_numbers_are_the_same_in_bfloat16() -> None:
    """The temperature would make 20 times as much of what a cosine loses."""
    made, outputs = pair(P)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(outputs)

    assert torch.equal(made(outputs), found) and torch.float32 == found.dtype


def test_a_last_layer_alone_is_refused() -> None:
    """The first phase would end in torch's words about gradients of nothing."""
    vectors = ImageSpec.of((4,), (0.0,) * 4, (1.0,) * 4, "float16")
    alone, more = (build(head, 3, vectors, seed=0) for head in (LinearHead(), MlpHead()))
    with pytest.raises(UsageError, match="a last layer alone.*use a model with layers before it"):
        HeadPairSpec().build(alone, 3, lambda: alone)
    HeadPairSpec().build(more, 3, lambda: more)


def test_a_last_layer_that_is_not_linear_is_refused() -> None:
    """The heads would read what is no feature, after labels were bought."""
    image = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
    model = build(SmallCnn(width=4), C, image, seed=0)
    model.classifier = nn.Sequential(nn.Linear(16, C))
    with pytest.raises(
        UsageError, match="Network has a Sequential as its last layer, .* use a mod"
    ):
        HeadPairSpec().build(model, C, lambda: model)
    model.classifier = nn.Linear(16, C)
    HeadPairSpec().build(model, C, lambda: model)
