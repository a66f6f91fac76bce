"""The batched gradient norms of networks on volumes D H W, and on rows of numbers, against one
backward per image."""

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayal.signals.gradients.convolution import Convolution, Planes
from rayal.signals.gradients.norms import gradient_norms
from rayal.signals.gradients.outer_products import OuterProducts
from tests.signals.gradients.test_gradients import Says, assert_norms, looped, made, wavy

pytestmark = [  # of torch, about its own speed
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]

VOLUME, ROW = (4, 6, 5, 7), (4, 9)
"""C D H W and C L: odd and even, no two sides alike."""

CONVOLUTIONS: dict[str, Callable[[], nn.Conv1d | nn.Conv3d]] = {
    "plain": lambda: nn.Conv3d(4, 6, 3),
    "padded": lambda: nn.Conv3d(4, 6, 3, padding=1, bias=False),
    "one by one": lambda: nn.Conv3d(4, 6, 1),
    "strided": lambda: nn.Conv3d(4, 6, 3, stride=2, padding=1),
    "stride beyond the kernel": lambda: nn.Conv3d(4, 6, 2, stride=3),
    "dilated and strided": lambda: nn.Conv3d(4, 6, 3, padding=3, dilation=3, stride=2),
    "grouped": lambda: nn.Conv3d(4, 6, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv3d(4, 8, 3, stride=2, groups=4, bias=False),
    "oblong": lambda: nn.Conv3d(
        4, 6, (2, 5, 3), stride=(1, 2, 3), padding=(0, 2, 1), dilation=(3, 1, 2)
    ),
    "same": lambda: nn.Conv3d(4, 6, (2, 4, 3), padding="same", dilation=(2, 1, 1)),
    "patches": lambda: nn.Conv3d(4, 70, 5, stride=5),
    "of rows": lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2),
}


def shape_of(layer: nn.Module) -> tuple[int, ...]:
    return ROW if isinstance(layer, nn.Conv1d) else VOLUME


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, n: int = 5) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def network(*parts: nn.Module) -> Says:
    """These parts, then 3 logits from all that they give."""
    with torch.no_grad():
        size = nn.Sequential(*parts).eval()(torch.zeros(1, *shape_of(parts[0]))).numel()
    return Says(*parts, nn.Tanh(), nn.Flatten(), nn.Linear(size, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda make=make: network(make()) for name, make in CONVOLUTIONS.items()},
    "batch norm": lambda: network(nn.Conv3d(4, 6, 3), nn.BatchNorm3d(6)),
    "group norm": lambda: network(nn.Conv3d(4, 6, 3), nn.GroupNorm(3, 6)),
    "two layers and a pool": lambda: network(
        nn.Conv3d(4, 6, 3, padding=1, bias=False),
        nn.BatchNorm3d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool3d(2),
        nn.Conv3d(6, 5, 2),
    ),
}
"""All of these have a batched form."""


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_loop(name: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    """Volumes would be chosen by another number than images, or be slow."""
    model = made(NETWORKS[name], dtype)
    images = batch(ROW if name == "of rows" else VOLUME, dtype)
    actual = gradient_norms(model, images, wavy)

    assert dtype == actual.dtype
    assert_norms(actual, looped(model, images), rtol=1e-10 if dtype == torch.float64 else 1e-4)
    assert [] == [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_all_forms_of_a_convolution_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice between the forms, made for speed, would change the score. The form for a GPU
    is run by no other test."""
    module = CONVOLUTIONS[name]().double()
    images, weight = batch(shape_of(module)), module.weight.detach().requires_grad_()
    options = (None, module.stride, module.padding, module.dilation, module.groups)
    convolve = F.conv1d if isinstance(module, nn.Conv1d) else F.conv3d
    gradient = torch.randn_like(convolve(images, weight, *options))
    slopes = [
        torch.autograd.grad(convolve(image[None], weight, *options), weight, slope[None])[0]
        for image, slope in zip(images, gradient, strict=True)
    ]
    expected = torch.stack(slopes).flatten(1).square().sum(1)
    layer = Convolution(images, weight.detach(), *options)
    planes = Planes(layer, tuple(gradient.shape[2:]))

    torch.testing.assert_close(layer.grouped_norms(layer.x, gradient), expected)
    for gram in (False, True):
        monkeypatch.setattr(OuterProducts, "prefers_gram", lambda _, gram=gram: gram)
        torch.testing.assert_close(planes.norms(layer.x, gradient), expected)
        torch.testing.assert_close(layer.weight_norms(gradient), expected)
