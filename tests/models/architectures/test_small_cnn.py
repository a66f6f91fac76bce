"""The small network: sizes it takes, and that it learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from rayal.data.card import ImageSpec
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build


def spec(size: int, channels: int = 1) -> ImageSpec:
    mean, std = (0.3,) * channels, (0.4,) * channels
    return ImageSpec(channels=channels, height=size, width=size, mean=mean, std=std)


@pytest.mark.parametrize(
    ("size", "expected"), [(8, [8, 4, 2, 1]), (28, [28, 14, 7, 3]), (32, [32, 16, 8, 4])]
)
def test_blocks_halve_the_image(size: int, expected: list[int]) -> None:
    """Small images would shrink to nothing before the last block."""
    network = build(SmallCnn(width=4), 10, spec(size), seed=0)
    layers = network(torch.zeros(2, 1, size, size)).layers

    assert expected == [layer.shape[-1] for layer in layers]


def test_parameters_by_hand() -> None:
    """The stated size would be wrong."""
    network = build(SmallCnn(width=2), 3, spec(8), seed=0)
    convolutions = 9 * (1 * 2 + 2 * 4 + 4 * 8 + 8 * 8)
    norms, classifier = 2 * (2 + 4 + 8 + 8), 8 * 3 + 3

    assert convolutions + norms + classifier == sum(p.numel() for p in network.parameters())


def test_learns_the_digits() -> None:
    """Experiments on small images would measure a network that cannot learn."""
    digits, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(digits.reshape(-1, 1, 8, 8).astype(np.float32)) / 16
    truth = torch.from_numpy(labels)
    network = build(SmallCnn(width=16), 10, spec(8), seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(5):
        for part in torch.split(torch.arange(1000), 100):
            optimizer.zero_grad()
            F.cross_entropy(network(images[part]).logits, truth[part]).backward()
            optimizer.step()
    with torch.inference_mode():
        right = network.eval()(images[1000:]).logits.argmax(1) == truth[1000:]

    assert right.float().mean() > 0.9
