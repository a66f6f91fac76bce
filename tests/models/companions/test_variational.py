"""The autoencoder and the discriminator of its codes: sizes, formulas, and whom they listen to."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.models.companions.variational import Code, LatentDiscriminator, LatentJudge, Vae


def image(height: int, width: int | None = None, channels: int = 3) -> ImageSpec:
    shape = {"channels": channels, "height": height, "width": width or height}
    return ImageSpec(**shape, mean=(0.5,) * channels, std=(0.25,) * channels)


def judge(side: int = 16, beside: int = 0) -> LatentJudge:
    """A small one in eval mode, always the same, that has seen a batch."""
    torch.manual_seed(1)
    made = LatentJudge(Vae(image(side), 4, 3, beside), LatentDiscriminator(3, 8, beside))
    made.vae.encode(noise(8, side))
    return made.eval()


def noise(count: int, side: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_divergence_is_that_of_normal_distributions() -> None:
    """By hand: a mean of 1 with variance 1 is 1/2 from N(0, 1), a variance of 2 (1 - ln 2) / 2."""
    code = Code(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, math.log(2), 0.0]]))

    assert [0.5, (1 - math.log(2)) / 2, 0.0] == pytest.approx(code.divergence()[0].tolist())
    drawn = Code(torch.randn(5, 3), torch.randn(5, 3))
    normal = torch.distributions.Normal(drawn.mean, (drawn.log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1))
    assert torch.allclose(expected, drawn.divergence(), atol=1e-6)


def test_draws_have_the_variance_of_the_code() -> None:
    """The decoder would see more or less noise than the divergence pays for."""
    code = Code(
        torch.tensor([[3.0, -1.0]]).expand(20000, 2), torch.tensor([[0.0, 2 * math.log(2)]])
    )
    torch.manual_seed(0)
    drawn = code.draw()

    assert [3, -1] == pytest.approx(drawn.mean(dim=0).tolist(), abs=0.05)
    assert [1, 2] == pytest.approx(drawn.std(dim=0).tolist(), abs=0.05)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (28, 28), (32, 32), (20, 33), (1, 5)])
@pytest.mark.parametrize("channels", [1, 4])
def test_gives_back_images_of_any_size(size: tuple[int, int], channels: int) -> None:
    """Digits, Fashion-MNIST and others would have no strategy of this kind."""
    spec = image(*size, channels=channels)
    images = torch.randn(2, *spec.shape)
    decoded = Vae(spec, 4, 3)(images)

    assert images.shape == decoded.images.shape
    assert (2, 3) == decoded.code.mean.shape == decoded.code.log_variance.shape


@pytest.mark.parametrize(
    ("side", "channels", "code"),
    [
        (3, [4], 2),
        (8, [4, 8], 2),
        (28, [4, 8, 16], 4),
        (32, [4, 8, 16, 32], 2),
        (64, [4, 8, 16, 32, 32], 2),
        (96, [4, 8, 16, 32, 32], 3),
        (224, [4, 8, 16, 32, 32, 32], 4),
    ],
)
def test_larger_images_have_deeper_networks(side: int, channels: list[int], code: int) -> None:
    """By hand. At one depth the linear layers would read 14 x 14 places of a photograph, where they
    read 2 x 2 of the published size."""
    vae = Vae(image(side), 4, 3)

    assert channels == [m.out_channels for m in vae.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert channels[-1] * code**2 == vae.mean.in_features


def test_small_images_lie_in_the_middle() -> None:
    """Where the network sees 44 px as 48, image and answer would be shifted against each other."""
    torch.manual_seed(0)
    small, large = Vae(image(44), 4, 3), Vae(image(48), 4, 3)
    large.load_state_dict(small.state_dict())
    images = noise(4, 44)
    filled = F.pad(images, [2, 2, 2, 2])

    assert torch.equal(small.eval().encode(images).mean, large.eval().encode(filled).mean)
    torch.manual_seed(1)
    expected = large(filled).images[:, :, 2:46, 2:46]
    torch.manual_seed(1)
    assert torch.equal(expected, small(images).images)


def test_starts_as_the_code_does() -> None:
    """He's initialisation where it reaches: convolutions, the first layer of the decoder and the
    discriminator; nothing else."""
    torch.manual_seed(0)
    vae, discriminator = Vae(image(32), 32, 32), LatentDiscriminator(32, 256)
    convolutions = [m for m in vae.encoder.modules() if isinstance(m, nn.Conv2d)]
    linear = [m for m in discriminator.layers if isinstance(m, nn.Linear)]

    assert 4 == len(convolutions)
    for layer in (*convolutions, vae.decoder[0], *linear[:2]):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)
    for layer in (vae.decoder[0], *linear):
        assert not layer.bias.any()
    inputs = vae.mean.in_features
    assert vae.mean.weight.abs().max() <= 1 / math.sqrt(inputs) and vae.mean.bias.any()


def test_agrees_with_its_definition() -> None:
    """Another order of layers would be another network than the published one."""
    made = judge(32)
    images = noise(3, 32)
    x = images
    with torch.no_grad():
        for conv, norm, _ in list(made.vae.encoder)[:4]:
            x = F.conv2d(x, conv.weight, stride=2, padding=1)
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
        means = x.flatten(1) @ made.vae.mean.weight.T + made.vae.mean.bias
        first, _, second, _, last = made.discriminator.layers
        hidden = second(first(means).relu()).relu()

        assert (3, 32, 2, 2) == x.shape
        assert torch.allclose(last(hidden)[:, 0], made(images), atol=1e-5)


def test_what_stands_beside_is_read() -> None:
    """A rank that reaches neither would leave TA-VAAL as VAAL."""
    made = judge(beside=1)
    images, one, other = noise(4), torch.zeros(4, 1), torch.full((4, 1), 2.0)
    seen = [F.softplus(made(images, each)) for each in (one, other)]
    assert not torch.isclose(*seen).any()

    decoded = []
    for each in (one, other):
        torch.manual_seed(0)
        decoded.append(made.vae(images, each))
    assert torch.equal(decoded[0].code.mean, decoded[1].code.mean)  # the encoder does not see it
    assert not torch.allclose(decoded[0].images, decoded[1].images)


def test_batch_statistics_are_those_of_the_batch() -> None:
    """The official scores would be others, or scoring would change what it asks."""
    made, images = judge(), noise(6, seed=3)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with torch.no_grad():
        alone, together = made(images), made(images, batch_statistics=True)
        modes = {module.training for module in made.modules()}
        made.vae.train()
        expected = made.discriminator(made.vae.encode(images).mean)

    assert {False} == modes
    assert torch.allclose(expected, together, atol=1e-5) and not torch.allclose(alone, together)
    made = judge()
    with torch.no_grad():
        made(images, batch_statistics=True)
        after = made.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert torch.equal(alone, made(images))


def test_the_discriminator_learns_inside_learning_alone() -> None:
    """The autoencoder's step would move its opponent."""
    made = judge()
    made(noise(4)).sum().backward()
    assert all(weight.grad is None for weight in made.discriminator.parameters())
    assert all(weight.grad is not None for weight in made.vae.mean.parameters())

    with made.discriminator.learning():
        made(noise(4)).sum().backward()
    assert all(weight.grad is not None for weight in made.discriminator.parameters())
