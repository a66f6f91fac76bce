"""Gradient norms of the mean entropy over maps, against autograd image by image."""

import pytest
import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.pixels import valid_pixels
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.build import build
from rayal.signals.gradients.norms import entropy_gradient_norms

SIZE = 16, 22


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """In float64, with running statistics of a training."""
    spec = ImageSpec(channels=3, height=16, width=22, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = build(SmallSegmenter(width=3), 4, spec, seed=0).double()
    with torch.no_grad():
        network.train()(torch.randn(8, 3, *SIZE, generator=generator(), dtype=torch.float64))
    return network.eval()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=generator(1), dtype=torch.float64)


def one_by_one(network: nn.Module, images: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """N T, by a backward for each image, from the entropies of its own places alone."""
    rows = []
    for image, (height, width) in zip(images, sizes, strict=True):
        p = network(image[None]).logits[0].softmax(0)
        entropies = -(p * p.log()).sum(0)
        grid = entropies.shape
        inside = [
            entropies[i, j]
            for i in range(grid[0])
            for j in range(grid[1])
            if int((i + 0.5) * SIZE[0] / grid[0]) < height
            and int((j + 0.5) * SIZE[1] / grid[1]) < width
        ]
        gradients = torch.autograd.grad(torch.stack(inside).mean(), [*network.parameters()])
        rows.append(torch.stack([g.square().sum() for g in gradients]))
    return torch.stack(rows)


def test_agrees_with_autograd(network):
    """Images of a batch would share a gradient, or places be summed in place of averaged."""
    found = entropy_gradient_norms(network, images())

    assert (4, len([*network.parameters()])) == found.shape
    torch.testing.assert_close(found, one_by_one(network, images(), [SIZE] * 4), rtol=1e-8, atol=0)
    assert (found > 0).all()


def test_filling_is_left_out(network):
    """The uncertainty of what is beside the image would pull at the weights."""
    sizes = [SIZE, (9, 22), (16, 10), (5, 7)]
    valid = valid_pixels(torch.tensor(sizes), *SIZE)
    found = entropy_gradient_norms(network, images(), valid)

    torch.testing.assert_close(found, one_by_one(network, images(), sizes), rtol=1e-8, atol=0)
    whole = entropy_gradient_norms(network, images())
    torch.testing.assert_close(found[0], whole[0])
    assert not torch.isclose(found[1:], whole[1:]).all(1).any()
    every = torch.ones(4, *SIZE, dtype=torch.bool)
    assert torch.equal(whole, entropy_gradient_norms(network, images(), every))


def test_the_network_is_as_it_was(network):
    """Scoring would change what is trained next."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    entropy_gradient_norms(network, images(), valid_pixels(torch.tensor([SIZE] * 4), *SIZE))

    assert not network.training and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
