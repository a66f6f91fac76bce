"""The small segmentation network: its size, what a position sees, and that it learns."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rayal.data.card import ImageSpec
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.build import build
from rayal.signals.batch import entropy
from rayal.signals.gradients.norms import entropy_gradient_norms

IMAGE = ImageSpec(channels=3, height=64, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_size_by_hand() -> None:
    """Runs on one core would take longer than promised."""
    network = build(SmallSegmenter(), 4, IMAGE, seed=0)
    blocks = (27 * 16 + 32) + (144 * 32 + 64) + (288 * 32 + 64) + (288 * 64 + 128)

    assert blocks + 65 * 4 == sum(p.numel() for p in network.parameters())


def test_a_position_sees_39_pixels_without_a_hole() -> None:
    """There would be less context, or a grid of pixels that a position never looks at."""
    network = build(SmallSegmenter(width=2), 1, IMAGE, seed=0).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    images = torch.ones(1, 3, 128, 128, requires_grad=True)
    network(images).logits[0, 0, 16, 16].backward()
    assert images.grad is not None
    rows, columns = (images.grad[0, 0].sum(dim=axis).nonzero()[:, 0].tolist() for axis in (1, 0))

    assert list(range(64 - 19, 64 + 20)) == rows == columns


def test_it_learns_which_half_is_bright() -> None:
    """Tests and examples that train it would show nothing but chance."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(4, 8, 8, dtype=torch.long)
    truth[:, :, 4:] = 1
    images = 0.5 * torch.randn(4, 3, 32, 32, generator=generator)
    images += truth.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    network = build(SmallSegmenter(width=4), 2, IMAGE, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        cross_entropy(network(images).logits, truth).backward()
        optimizer.step()

    assert 0.95 < (network.eval()(images).logits.argmax(dim=1) == truth).float().mean()


def test_gradient_norms_are_those_of_a_loop() -> None:
    """The gradnorm strategies would rank images by something else."""
    network = build(SmallSegmenter(width=4), 3, IMAGE, seed=0).double().eval()
    images = torch.randn(3, 3, 20, 28, generator=torch.Generator().manual_seed(0)).double()
    expected = []
    for image in images:
        log_probs = network(image[None]).logits.log_softmax(dim=1)
        gradients = torch.autograd.grad(entropy(log_probs).mean(), list(network.parameters()))
        expected.append([g.square().sum().item() for g in gradients])

    actual = entropy_gradient_norms(network, images)

    assert (actual > 0).all()
    np.testing.assert_allclose(expected, actual.numpy(), rtol=1e-8)
