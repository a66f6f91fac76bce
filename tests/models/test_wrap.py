"""rayal/models/wrap.py: any classifier that returns logits is a network of rayal."""

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import rayal
from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import Model, Outputs
from rayal.models.build import build
from rayal.models.wrapped import Wrapped
from rayal.parts import find
from rayal.testing import ModelContract
from rayal.testing import bench as bench_of
from rayal.testing.bench import Bench, beside
from rayal.testing.fits import fitted
from tests.support.doubles import small_strategy, strategies_for

IMAGE = ImageSpec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3)
CLASSES = 4


class Plain(nn.Module):
    """Logits of a network of rayal, and nothing beside them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = network

    def forward(self, images: Tensor) -> Tensor:
        outputs: Outputs = self.inner(images)
        return outputs.logits


class Then(nn.Module):
    """Two linear layers and what comes after them."""

    def __init__(self, after: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(12, 5), nn.Linear(5, CLASSES)
        self.after = after

    def forward(self, images: Tensor) -> Any:
        return self.after(self.head(self.first(images.flatten(1)).relu()))


def noise(n: int = 6, side: int = 8) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_by_hand() -> None:
    """Features, logits and the layer of a network that anybody can follow."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        net[3].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        net[3].bias.copy_(torch.tensor([0.0, 0.0, 10.0]))

    wrapped: Any = rayal.wrap(net)
    outputs = wrapped(torch.tensor([[2.0, 3.0], [4.0, -5.0]]))

    assert [[2, 0], [4, 5]] == outputs.features.tolist()
    assert [[2, 0, 12], [4, 5, 19]] == outputs.logits.tolist()
    assert () == outputs.layers == wrapped.layer_channels
    assert wrapped.classifier is net[3]


def test_the_module_stays_what_it_was() -> None:
    """Wrapping would change what is trained, saved or called elsewhere."""
    net = models.resnet18(num_classes=CLASSES)
    net.layer1.eval()
    before, images = copy.deepcopy(net), noise(side=32)
    rng = torch.random.get_rng_state()

    wrapped = rayal.wrap(net)
    wrapped(images)

    assert torch.equal(rng, torch.random.get_rng_state())
    assert net.training and not net.layer1.training and wrapped.training
    assert list(before.state_dict()) == list(net.state_dict())
    assert [f"net.{name}" for name in net.state_dict()] == list(wrapped.state_dict())
    assert all(a is b for a, b in zip(net.parameters(), wrapped.parameters(), strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert not wrapped.eval().net.training
    assert torch.equal(net(images), wrapped(images).logits)
    assert wrapped is rayal.wrap(wrapped)


@pytest.mark.parametrize(
    ("arch", "channels", "last"),
    [
        ("resnet18", [64, 128, 256, 512], "fc"),
        ("mobilenet_v3_small", [16, 24, 48, 576], "classifier.3"),
        ("swin_t", [], "head"),
    ],
)
def test_layers_are_those_of_the_architecture(arch: str, channels: list[int], last: str) -> None:
    """A module would have other block outputs by itself than as `torchvision`."""
    net = models.get_model(arch, num_classes=CLASSES)

    wrapped: Any = rayal.wrap(net)

    assert channels == list(wrapped.layer_channels)
    assert net.get_submodule(last) is wrapped.classifier


def test_a_size_is_found() -> None:
    """A network that takes images of one size alone would need them to be given."""
    grey28 = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, CLASSES))
    odd = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 5 * 5, CLASSES))

    assert CLASSES == rayal.wrap(grey28)(torch.zeros(1, 1, 28, 28)).logits.shape[1]
    for side in (8, 16, 48):
        small = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * (side - 2) ** 2, 3))
        assert 3 == rayal.wrap(small)(torch.zeros(1, 1, side, side)).logits.shape[1]
    with pytest.raises(
        UsageError,
        match=r"mat1 and mat2 .*; give some that it takes: rayal\.wrap\(module, images=",
    ):
        rayal.wrap(odd)
    assert 50 == rayal.wrap(odd, images=torch.zeros(3, 1, 7, 7)).classifier.in_features


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        (lambda z: z.softmax(1), "'head' is followed by softmax; return what the layer gives"),
        (lambda z: z.log_softmax(1), "'head' is followed by log_softmax; return what"),
        (lambda z: z.sigmoid(), "'head' is followed by sigmoid; return"),
        (lambda z: (z, z), "returns tuple; make it return the logits alone"),
        (lambda z: z[..., None], r"returns \(2, 4, 1\); make it return the logits alone"),
        (lambda z: z / 3, r"the last one is 'head'; name .*rayal.wrap\(module, layer='head'\)"),
        (lambda z: Outputs(z, z, ()), "returns Outputs itself, but lacks"),
    ],
)
def test_what_is_no_logits_is_refused(after: Callable[[Tensor], Any], problem: str) -> None:
    """All scores would be those of another distribution."""
    with pytest.raises(UsageError, match=problem):
        rayal.wrap(Then(after), images=torch.randn(2, 12))
    rayal.wrap(Then(lambda z: z))  # what the messages ask for


def test_a_layer_by_name() -> None:
    """A network whose logits are scaled at its end could not be used at all."""
    scaled = Then(lambda z: z / 3)
    wrapped: Any = rayal.wrap(scaled, layer="head")

    assert wrapped.classifier is scaled.head
    with pytest.raises(UsageError, match="'last' is no linear layer of Then; choose one of: first"):
        rayal.wrap(scaled, layer="last")
    with pytest.raises(UsageError, match=r"gives \(2, 5\), the logits are \(2, 4\); name the last"):
        rayal.wrap(scaled, layer="first")
    with pytest.raises(UsageError, match="is followed by softmax"):
        rayal.wrap(Then(lambda z: z.softmax(1)), layer="head")


def test_networks_without_a_linear_layer() -> None:
    """They would end in an IndexError."""
    by_convolution = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    in_one = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(2), nn.Linear(64 * 64, 1), nn.Flatten())

    with pytest.raises(UsageError, match="by no linear layer; write a last nn.Linear"):
        rayal.wrap(by_convolution)
    rayal.wrap(nn.Sequential(by_convolution, nn.Linear(4, CLASSES)))
    with pytest.raises(UsageError, match="logits are not what a linear layer gives"):
        rayal.wrap(in_one)
    with pytest.raises(UsageError, match=r"'2' gives \(2, 4, 1\), the logits are \(2, 4\)"):
        rayal.wrap(in_one, layer="2")
    with pytest.raises(UsageError, match="is no torch.nn.Module; give one"):
        rayal.wrap("resnet18")  # type: ignore[arg-type]


def test_layers_without_a_size_are_refused() -> None:
    """Trying sizes would fix that of the first for good."""
    lazy = nn.Sequential(nn.LazyConv2d(2, 3), nn.LazyBatchNorm2d(affine=False), nn.Flatten())
    for net in (lazy, lazy[1], nn.Sequential(nn.Flatten(), nn.LazyLinear(3))):
        with pytest.raises(UsageError, match="has a lazy layer, .*; give it its size, or run the"):
            rayal.wrap(net)
    assert 0 == lazy[0].in_channels

    head = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    head(noise())
    assert 192 == rayal.wrap(head, images=noise()).classifier.in_features


def test_what_the_forward_raised_is_told() -> None:
    """A mistake in it would be told as one of the images' size."""

    class Mistaken(nn.Linear):
        def forward(self, images: Tensor) -> Any:
            raise NameError("my typo")

    with pytest.raises(UsageError, match="the last forward raised NameError: my typo; give some"):
        rayal.wrap(Mistaken(4, 3))


STRATEGIES = [
    name
    for name in strategies_for("classification")
    if "layers" not in find("strategies", name).needs  # which a module does not show
]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_says_the_same(name: str) -> None:
    """A user's own module would be ranked otherwise than the same network of rayal."""
    strategy = small_strategy(name)
    bench, other = (Bench.of(strategy) for _ in range(2))
    other.networks = [
        rayal.wrap(Plain(network), images=other.images).eval() for network in other.networks
    ]
    data = bench_of.CLASSES, bench_of.IMAGE
    there = beside(other.networks, strategy.companions(), *data)
    other.companions = [*there, *fitted(strategy.fits(), other.networks[0], there, *data)]

    def seen(each: Bench) -> list[Tensor]:
        view = strategy.view(each.signals(range(9), cycle=1), name)
        score = strategy.score(view)
        kept = [getattr(view, signal) for signal in sorted(strategy.kept())]
        return kept if score is None else [score, *kept]

    expected, actual = seen(bench), seen(other)

    assert expected and len(expected) == len(actual)
    for one, same in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(one.detach(), same.detach())


class Mine(Model):
    """What a user writes: a network of torchvision, as it is."""

    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return models.resnet18(num_classes=num_classes)

    def accepts(self, image: ImageSpec) -> str | None:
        return None if image.channels == 3 else "it takes 3 channels"


class TestMine(ModelContract):
    """The suite would refuse what a run takes."""

    part: ClassVar[Mine] = Mine()  # type: ignore[misc]


def test_a_model_may_return_a_plain_module(tmp_path) -> None:
    """It would have to be written again with Outputs; its published weights would not fit."""
    theirs = models.resnet18(num_classes=CLASSES)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")

    network = build(Mine(pretrained=str(tmp_path / "theirs.pt")), CLASSES, IMAGE, seed=0)

    assert isinstance(network, Wrapped)
    assert torch.equal(theirs.eval()(noise()), network.eval()(noise()).logits)


def test_further_classifiers_in_training_are_named() -> None:
    """The loss would be asked for a tuple."""

    class Auxiliary(nn.Linear):
        def forward(self, images: Tensor) -> Any:
            logits = super().forward(images)
            return (logits, logits) if self.training else logits

    wrapped = rayal.wrap(nn.Sequential(nn.Flatten(), Auxiliary(12, CLASSES))).train()

    with pytest.raises(UsageError, match="returned tuple in place of logits.*build it without"):
        wrapped(torch.zeros(2, 12))
