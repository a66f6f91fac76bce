"""What the three fits share: the steps of both players, what each loss is, and who stays as he is.

B images, L latent numbers.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.companions.base import Companions
from rayal.models.companions.loss_head import LossHeadSpec
from rayal.models.companions.variational import LatentJudge
from rayal.testing.bench import CLASSES, IMAGE, Bench
from rayal.testing.fits import Drawn
from rayal.training.fits._adversarial import AdversarialFitting, AdversarialSpec
from rayal.training.fits.base import FitBatch, Scene
from rayal.training.fits.sraal import SraalSpec
from rayal.training.fits.ta_vaal import TaVaalSpec
from rayal.training.fits.vaal import VaalSpec
from tests.support.forks import as_two

SMALL: dict[str, Any] = {"width": 4, "latent": 3, "discriminator_width": 8, "lr": 0.01}
SPECS = [VaalSpec(**SMALL, vae_steps=1), TaVaalSpec(**SMALL), SraalSpec(**SMALL)]
BESIDE = [LossHeadSpec(objective="logistic")]
EACH = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def batch(count: int = 6, seed: int = 0) -> FitBatch:
    generator = torch.Generator().manual_seed(seed)
    labeled, candidates = torch.randn(2, count, *IMAGE.shape, generator=generator)
    return FitBatch(labeled, torch.arange(count) % CLASSES, candidates + 1)


def fitting(spec: AdversarialSpec, bench: Bench | None = None) -> AdversarialFitting:
    """Before its first step, always the same."""
    bench = bench or Bench(BESIDE)
    torch.manual_seed(0)
    companion = spec.build(bench.networks[0], CLASSES, IMAGE)
    shown = batch()
    images = Drawn(shown.labeled), Drawn(shown.candidates)
    made = spec.start(companion, Scene(bench.networks[0], Companions(bench.companions), *images, 9))
    assert isinstance(made, AdversarialFitting)
    return made


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, now in module.named_parameters() if not torch.equal(now, before[name])}


@pytest.mark.parametrize(
    ("spec", "vae", "discriminator"),
    [
        (VaalSpec(), 22_835_139, 280_065),
        (TaVaalSpec(), 22_851_523, 280_577),
        (SraalSpec(), 25_353_025, 280_065),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_has_the_published_size(spec: AdversarialSpec, vae: int, discriminator: int) -> None:
    """Another number of weights is another network."""
    cifar = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    made = spec.build(nn.Identity(), 10, cifar)

    assert vae == sum(weight.numel() for weight in made.vae.parameters())
    assert discriminator == sum(weight.numel() for weight in made.discriminator.parameters())


def test_steps_are_those_of_the_ports() -> None:
    """TA-VAAL's code: int((1000 cycle + 10000) 100 / 128), cycle counted from 1."""
    counts = [TaVaalSpec().steps(1000 * cycle, 10_000) for cycle in (1, 2, 10)]

    assert [8593, 9375, 15_625] == counts
    assert 2 * 8593 == VaalSpec().steps(1000, 10_000)  # two of the autoencoder for each of D
    assert 1 == SraalSpec(epochs=1).steps(1, 1)


@EACH
def test_each_player_moves_alone(spec: AdversarialSpec) -> None:
    """Who moves the other plays against nobody."""
    made, shown = fitting(spec), batch()
    vae, discriminator = made.companion.vae, made.companion.discriminator
    sides, before = made.sides(shown, 1), (weights(vae), weights(discriminator))
    made.teach_vae(sides, shown)

    assert before[0].keys() == changed(vae, before[0]) and not changed(discriminator, before[1])
    before = weights(vae), weights(discriminator)
    made.teach_discriminator(sides)

    assert before[1].keys() == changed(discriminator, before[1]) and not changed(vae, before[0])


def naive_losses(made: AdversarialFitting, shown: FitBatch, step: int) -> tuple[Tensor, Tensor]:
    """Of the autoencoder before its step, and of the discriminator with the same means; written
    out number by number."""
    spec, judge, total, against = made.spec, made.companion, torch.zeros(()), torch.zeros(())
    torch.manual_seed(5)
    for side in made.sides(shown, step):
        decoded = judge.vae(side.images, side.to_decoder)
        mean, log_variance = decoded.code.mean, decoded.code.log_variance
        total = total + ((decoded.images - side.images) ** 2).mean()
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp())
        summed = spec.divergence == "sum"
        total = total + spec.beta * (divergence.sum() if summed else divergence.mean())
        says = judge.discriminator(mean, side.to_discriminator).sigmoid()
        total = total - spec.adversary * says.log().mean()
        each = side.truth * says.log() + (1 - side.truth) * (1 - says).log()
        against = against - each.mean()
        if decoded.logits is not None and side.images is shown.labeled:
            total = total + F.cross_entropy(decoded.logits, shown.labels)
    return total, against


@EACH
@pytest.mark.parametrize("divergence", ["mean", "sum"])
def test_losses_are_as_defined(spec: AdversarialSpec, divergence: str) -> None:
    """A sum for a mean, or a sign, would be another game."""
    options = {"divergence": divergence, "beta": 0.7, "adversary": 1.3}
    made, shown = fitting(spec.model_copy(update=options)), batch()
    copied = copy.deepcopy(made)
    loss, against = naive_losses(copied, shown, 1)
    torch.manual_seed(5)
    values = made.teach_vae(made.sides(shown, 1), shown)
    terms = sum(v for name, v in values.items() if name not in ("loss", "discriminator_loss"))

    assert values["loss"].item() == pytest.approx(loss.item(), rel=1e-4)
    assert values["loss"].item() == pytest.approx(float(terms), rel=1e-5)
    assert values["discriminator_loss"].item() == pytest.approx(against.item(), rel=1e-4)


@EACH
def test_a_whole_step_is_two_adam_steps(spec: AdversarialSpec) -> None:
    """The discriminator would learn from means that are no longer there."""
    made, shown = fitting(spec), batch()
    other = copy.deepcopy(made)
    torch.manual_seed(5)
    made.step(shown, 1)

    optimizers = [torch.optim.Adam(p.parameters(), lr=0.01) for p in other.companion.children()]
    naive_losses(other, shown, 1)[0].backward()
    optimizers[0].step()
    with other.companion.discriminator.learning():
        for side in other.sides(shown, 1):
            mean = other.companion.vae.encode(side.images).mean.detach()
            logits = other.companion.discriminator(mean, side.to_discriminator)
            F.binary_cross_entropy_with_logits(logits, side.truth).backward()
    optimizers[1].step()

    expected = other.companion.state_dict()
    for name, value in made.companion.state_dict().items():
        assert torch.allclose(expected[name].double(), value.double(), atol=1e-5), name


@EACH
def test_all_others_stay_as_they_are(spec: AdversarialSpec) -> None:
    """A fit would change the model that it looks at, or the ranker."""
    bench = Bench(BESIDE)
    others = [*bench.networks, *(companion for _, companion in bench.companions)]
    before = [copy.deepcopy(module.state_dict()) for module in others]
    made = fitting(spec, bench)
    for step in range(3):
        made.step(batch(seed=step), step)

    for module, state in zip(others, before, strict=True):
        assert not any(inner.training for inner in module.modules())
        assert all(weight.grad is None for weight in module.parameters())
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@EACH
def test_a_fit_continues_from_its_state(spec: AdversarialSpec) -> None:
    """Killed fits would end with another companion than undisturbed ones."""

    def steps(made: AdversarialFitting, of: range) -> None:
        for step in of:
            torch.manual_seed(step)
            made.step(batch(seed=step), step)

    whole, begun, ended = (fitting(spec) for _ in range(3))
    steps(whole, range(5))
    steps(begun, range(3))
    ended.load_state_dict(copy.deepcopy(begun.state_dict()))
    steps(ended, range(3, 5))

    expected = whole.finished().state_dict()
    for name, value in ended.finished().state_dict().items():
        assert torch.equal(expected[name], value), name


def test_the_discriminator_waits_for_the_autoencoder() -> None:
    """With two steps each on a new batch, it moves after the second, as in VAAL's code."""
    made = fitting(VaalSpec(**SMALL))
    moved = []
    for step in range(4):
        before = weights(made.discriminator)
        made.step(batch(seed=step), step)
        moved.append(bool(changed(made.discriminator, before)))

    assert [False, True, False, True] == moved


def drawn(share: float, count: int, seed: int) -> Tensor:
    """Images of which a share is bright on the left, and all others, which come last, above."""
    places = torch.linspace(1, -1, IMAGE.width).expand(IMAGE.height, -1)
    left = torch.arange(count) < share * count
    patterns = torch.where(left[:, None, None], places, places.T)[:, None]
    return 2 * patterns + torch.randn(
        count, *IMAGE.shape, generator=torch.Generator().manual_seed(seed)
    )


def test_learns_what_is_not_labeled_yet() -> None:
    """A game that teaches nothing would choose at random. Half of the candidates are of a kind that
    is not labeled."""
    made = fitting(VaalSpec(**SMALL, vae_steps=1, beta=0.01, adversary=0.1))
    torch.manual_seed(0)
    for step in range(30):
        sides = drawn(1.0, 12, 2 * step), drawn(0.5, 12, 2 * step + 1)
        made.step(FitBatch(sides[0], torch.zeros(12), sides[1]), step)
    judge: LatentJudge = made.finished().eval()
    with torch.no_grad():
        scores = -judge(drawn(0.5, 20, seed=99))

    assert (scores[:10, None] < scores[10:]).float().mean() > 0.9


def test_pieces_of_images_are_refused() -> None:
    """It would learn from windows, for which it is not made, and be asked about whole images."""
    with pytest.raises(ValidationError, match="vaal is asked about whole images.*set it to null"):
        VaalSpec.model_validate({"augment": {"window": (8, 8)}})

    VaalSpec.model_validate({"augment": {"window": None, "flip": True}})


def test_volumes_are_refused() -> None:
    """A run would stop after its first training, in the middle of a convolution."""
    volumes = IMAGE.model_copy(update={"depth": 8})
    with pytest.raises(UsageError, match=r"the vaal takes pictures.* are volumes .*; use another"):
        VaalSpec(**SMALL).build(nn.Identity(), CLASSES, volumes)

    VaalSpec(**SMALL).build(nn.Identity(), CLASSES, IMAGE)


def test_workers_that_cannot_share_a_batch() -> None:
    """Some images would weigh more than others."""
    (said,) = VaalSpec(batch_size=6).contradictions(4)

    assert "4 cannot share the vaal's batches of 6 equally" in said.problem
    assert [] == list(VaalSpec(batch_size=8).contradictions(4))


def _work(rank: int, folder: Path, spec: AdversarialSpec) -> None:
    """One of two: three steps on its half of each batch."""
    made = fitting(spec)
    for step in range(3):
        torch.manual_seed(step)
        made.step(FitBatch(*(part.chunk(2)[rank] for part in batch(8, seed=step))), step)
    torch.save(weights(made.companion), folder / str(rank))


@pytest.mark.parametrize(
    "spec",
    [SPECS[0].model_copy(update={"divergence": "sum"}), *SPECS[1:]],
    ids=lambda spec: spec.name,
)
def test_two_workers_have_one_companion(spec: AdversarialSpec, tmp_path: Path) -> None:
    """Their networks would part, or a step of one player wait for gradients of the other. Each
    normalises its own half, as torch's workers do: what they compute is the mean over halves."""
    as_two(_work, tmp_path, spec)
    one, other = (torch.load(tmp_path / str(rank)) for rank in range(2))
    made = fitting(spec)
    for step in range(3):
        halves = [
            FitBatch(*(part.chunk(2)[rank] for part in batch(8, seed=step))) for rank in (0, 1)
        ]
        _step_on(made, halves, step)

    for name, expected in weights(made.companion).items():
        assert torch.equal(one[name], other[name]), name
        assert torch.allclose(expected, one[name], atol=2e-4), name


def _step_on(made: AdversarialFitting, halves: list[FitBatch], step: int) -> None:
    """What two workers do in a step, in one process: gradients of both halves, then the updates."""
    judge, workers = made.companion, len(halves)
    made.vae_optimizer.zero_grad()
    for half in halves:
        torch.manual_seed(step)
        sides = made.sides(half, step)
        decoded = [judge.vae(side.images, side.to_decoder) for side in sides]
        judged = [
            judge.discriminator(each.code.mean, side.to_discriminator)
            for each, side in zip(decoded, sides, strict=True)
        ]
        terms = made.terms(sides, decoded, judged, half)
        if made.spec.divergence == "sum":
            terms["divergence"] = workers * terms["divergence"]  # the sum over all images
        torch.autograd.backward(torch.stack(list(terms.values())).sum() / workers)
    made.vae_optimizer.step()
    made.discriminator_optimizer.zero_grad()
    with judge.discriminator.learning():
        for half in halves:
            for side in made.sides(half, step):
                means = judge.vae.encode(side.images).mean.detach()
                logits = judge.discriminator(means, side.to_discriminator)
                loss = F.binary_cross_entropy_with_logits(logits, side.truth)
                torch.autograd.backward(loss / workers)
        made.discriminator_optimizer.step()
