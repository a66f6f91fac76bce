"""SRAAL's fit: its uncertainty by hand, and that the encoder plays against the discriminator."""

import pytest
import torch
from torch import Tensor

from rayal.signals.networks import forward
from rayal.testing.bench import Bench
from rayal.training.fits.sraal import SraalSpec, uncertainty
from tests.training.fits.test_adversarial import SMALL, batch, fitting


def one_and_rest(highest: float, classes: int = 10) -> list[float]:
    return [highest, *[(1 - highest) / (classes - 1)] * (classes - 1)]


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        (one_and_rest(1.0), 0.0),
        ([0.5, 0.5, *[0.0] * 8], 7 / 9),  # 1 - (.16 / 9) / .04 * .5
        (one_and_rest(0.55), 0.45),
        (one_and_rest(0.19), 0.81),  # nearly even
        ([0.1] * 10, 0.9),  # where both variances are 0
        ([0.25] * 4, 0.75),
        ([0.3, 0.7], 0.3),  # of two classes there is but one with this maximum
    ],
)
def test_uncertainty_by_hand(probs: list[float], expected: float) -> None:
    """Certain candidates would be hunted, and uncertain ones taken for labeled."""
    assert uncertainty(torch.tensor([probs]))[0].item() == pytest.approx(expected, abs=1e-5)


def test_uncertainty_is_within_its_bounds() -> None:
    """A truth outside of [0, 1] is none, and a division by 0 would stop the run."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.logspace(-9, 3, 200)[:, None]
    values = uncertainty((torch.randn(200, 7, generator=generator) * scales).softmax(dim=1))

    assert values.isfinite().all() and values.min() >= 0 and values.max() <= 1


def naive(probs: Tensor) -> float:
    """One prediction, with the vector of least variance made, and both variances measured."""
    highest, classes = probs.max().item(), len(probs)
    least = torch.tensor(one_and_rest(highest, classes), dtype=torch.float64)
    return 1 - (least.var(correction=0) / probs.var(correction=0)).item() * highest


def test_uncertainty_against_its_definition() -> None:
    """The closed form of the least variance would be another."""
    probs = torch.randn(50, 6, dtype=torch.float64).softmax(dim=1)
    expected = [naive(each) for each in probs]

    assert expected == pytest.approx(uncertainty(probs).tolist())


def test_candidates_are_relabeled_by_the_model() -> None:
    """1 - U of the model in eval mode: what it is certain of passes for labeled."""
    bench, shown = Bench(), batch()
    labeled, candidates = fitting(SraalSpec(**SMALL), bench).sides(shown, 0)
    probs = forward(bench.networks[0], shown.candidates).logits.softmax(dim=1)

    assert labeled.truth.eq(1).all()
    assert torch.allclose(1 - uncertainty(probs), candidates.truth)
    assert len(candidates.truth.unique()) == len(shown.candidates)


def test_the_encoder_gets_the_adversarial_gradient() -> None:
    """As in the re-implementation nobody would play against the discriminator."""
    only = SMALL | {"beta": 0.0, "classification": 0.0}
    gradients = []
    for adversary in (0.0, 1.0):
        made, shown = fitting(SraalSpec(**only, adversary=adversary)), batch()
        torch.manual_seed(0)
        made.teach_vae(made.sides(shown, 0), shown)
        gradients.append(
            [weight.grad.clone() for weight in made.companion.vae.encoder.parameters()]
        )
    apart = [(one - other).abs().max() for one, other in zip(*gradients, strict=True)]

    assert all(each > 0 for each in apart)


def test_the_classifier_learns_the_labels() -> None:
    """The latent numbers would say nothing of classes."""
    made, shown = fitting(SraalSpec(**SMALL, beta=0.0)), batch()
    torch.manual_seed(0)
    losses = [made.step(shown, step)["classification"].item() for step in range(80)]

    assert losses[-1] < losses[0] / 2
