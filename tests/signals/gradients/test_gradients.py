"""The batched gradient norms against one backward per image: every layer, and every way out."""

import logging
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from rayal.errors import UsageError
from rayal.models.base import Model, Outputs
from rayal.models.build import build
from rayal.parts import find, names
from rayal.signals.gradients import layers as gradient_layers
from rayal.signals.gradients import norms as gradient_norms_module
from rayal.signals.gradients.convolution import Convolution, Planes
from rayal.signals.gradients.norms import (
    PerUnitGradients,
    entropy_gradient_norms,
    gradient_norms,
    last_layer_norms,
)
from rayal.signals.gradients.outer_products import OuterProducts
from rayal.testing.model import spec

Loss = Callable[[Tensor], Tensor]


pytestmark = [  # of torch, about its own speed
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]


@pytest.fixture(autouse=True)
def warns_again() -> None:
    """Warnings come once in a process: one test would take them from another."""
    gradient_norms_module._warn.cache_clear()


class Says(nn.Module):
    """A network that gives the output of its parts, one after the other, as logits N C *."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts, self.calls = nn.Sequential(*parts), 0

    def forward(self, images: Tensor) -> Outputs:
        self.calls += 1
        logits = self.parts(images)
        return Outputs(logits, logits, ())


class Does(nn.Module):
    """A module with these modules and parameters that does `work(itself, x)`."""

    def __init__(self, work: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        self.work = work
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.work(self, x)


def cool(network: nn.Module, images: Tensor) -> None:
    """Makes the logits at most 1 for these images.

    Random weights of a deep network may say 4,000: its softmax is then so sharp that float32 leaves
    nothing of an entropy's gradient.
    """
    with torch.no_grad():
        most = network(images).logits.abs().max()
        for parameter in network.classifier.parameters():
            parameter /= most


SHAPE = (4, 9, 8)
"""Of the images that the networks below take: odd and even, and not square."""


def network(*parts: nn.Module) -> Says:
    """These parts, then 3 logits from all that they give, every number of it by its own weight."""
    with torch.no_grad():
        size = nn.Sequential(*parts).eval()(torch.zeros(1, *SHAPE)).numel()
    return Says(*parts, nn.Tanh(), nn.Flatten(), nn.Linear(size, 3))


def as_tokens() -> nn.Module:
    """N C H W -> N H*W C."""
    return Does(lambda _, x: x.flatten(2).mT)


CONVOLUTIONS: dict[str, Callable[[], nn.Conv2d]] = {
    "plain": lambda: nn.Conv2d(4, 6, 3),
    "padded": lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False),
    "one by one": lambda: nn.Conv2d(4, 6, 1),
    "strided": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "strided one by one": lambda: nn.Conv2d(4, 6, 1, stride=2, bias=False),
    "stride beyond the kernel": lambda: nn.Conv2d(4, 6, 2, stride=3),
    "dilated": lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "dilated and strided": lambda: nn.Conv2d(4, 6, 3, padding=3, dilation=3, stride=2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "depthwise, two each": lambda: nn.Conv2d(4, 8, 3, stride=2, groups=4, bias=False),
    "oblong": lambda: nn.Conv2d(4, 6, (5, 2), stride=(1, 2), padding=(2, 0), dilation=(1, 3)),
    "same": lambda: nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2)),
    "valid": lambda: nn.Conv2d(4, 6, 3, padding="valid"),
    "reflected": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "patches": lambda: nn.Conv2d(4, 70, 4, stride=4),
}

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda make=make: network(make()) for name, make in CONVOLUTIONS.items()},
    "linear": lambda: network(nn.Flatten(), nn.Linear(288, 7), nn.ReLU(), nn.Linear(7, 5)),
    "linear of N T D": lambda: network(as_tokens(), nn.Linear(4, 5)),
    "linear of N C H W": lambda: network(nn.Linear(8, 2, bias=False)),
    "batch norm": lambda: network(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
    "batch norm of N C": lambda: network(nn.Flatten(), nn.Linear(288, 7), nn.BatchNorm1d(7)),
    "batch norm of N C L": lambda: network(nn.Flatten(2), nn.BatchNorm1d(4)),
    "group norm": lambda: network(nn.Conv2d(4, 6, 3), nn.GroupNorm(3, 6)),
    "group norm of N C": lambda: network(nn.Flatten(), nn.GroupNorm(4, 288)),
    "layer norm": lambda: network(as_tokens(), nn.LayerNorm(4)),
    "layer norm of two axes": lambda: network(nn.LayerNorm((9, 8), bias=False)),
    "norms without parameters": lambda: network(
        nn.LayerNorm((9, 8), elementwise_affine=False), nn.BatchNorm2d(4, affine=False)
    ),
    "logits of N C H W": lambda: Says(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1)),
    "residual blocks, in place": lambda: network(
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        BasicBlock(6, 6),
        BasicBlock(6, 8, 2, nn.Sequential(nn.Conv2d(6, 8, 1, 2), nn.BatchNorm2d(8))),
    ),
    "a layer that is not called": lambda: network(
        Does(lambda self, x: self.used(x), used=nn.Conv2d(4, 3, 1), unused=nn.Linear(2, 2))
    ),
    "a layer that leads nowhere": lambda: network(
        Does(
            lambda self, x: (self.used(x), self.lost(x))[0],
            used=nn.Conv2d(4, 3, 1),
            lost=nn.Conv2d(4, 3, 1),
        )
    ),
    "a weight that is asked for its type": lambda: network(
        Does(lambda self, x: self.layer(x.to(self.layer.weight.dtype)), layer=nn.Linear(8, 3))
    ),
}
"""All of these have a batched form."""


def made(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> nn.Module:
    """In eval mode, with norms and running statistics that are not those of a fresh layer."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.ndim == 1:
                value += 0.2 * torch.rand_like(value)
    return model.to(dtype).eval()


def batch(n: int = 5, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def wavy(logits: Tensor) -> Tensor:
    """N: a loss with large and uneven gradients at all logits."""
    return (logits - 0.3).square().flatten(1).sum(1) + logits.sin().flatten(1).sum(1)


def looped(model: nn.Module, images: Tensor, loss: Loss = wavy) -> Tensor:
    """N T, the published way: one forward and one backward per image."""
    rows, parameters = [], list(model.parameters())
    for image in images:
        total = loss(model(image[None]).logits).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        rows.append([0.0 if g is None else g.square().sum().item() for g in gradients])
    return torch.tensor(rows, dtype=images.dtype)


def assert_norms(actual: Tensor, expected: Tensor, rtol: float) -> None:
    """Equal norms; such as are 0 up to rounding are compared with the largest."""
    atol = rtol * expected.max().sqrt().item() / 1000
    torch.testing.assert_close(actual.sqrt(), expected.sqrt(), rtol=rtol, atol=atol)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_loop(name: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    """Some layer's share of the norm would be wrong, or its networks slow."""
    model, images = made(NETWORKS[name], dtype), batch(dtype=dtype)
    actual = gradient_norms(model, images, wavy)

    assert dtype == actual.dtype
    assert_norms(actual, looped(model, images), rtol=1e-10 if dtype == torch.float64 else 1e-4)
    assert [] == warnings(caplog)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", sorted({*names("models")} - {"timm", "transformers", "knn_head"}))
def test_the_models_of_rayal(
    name: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    """The published score of rayal's own networks would be another, or slow."""
    narrow = {
        "small_cnn": {"width": 4},
        "resnet18": {"width": 4},
        "wide_resnet": {"depth": 10},
        "torchvision": {"arch": "mobilenet_v3_small"},
    }
    part = cast(Model, find("models", name).model_validate(narrow.get(name, {})))
    image = {0: spec(channels=24), 2: spec(32, 32), 3: spec(16, 16, 16)}[part.dimensions]
    model = made(lambda: build(part, 5, image, seed=0), dtype)
    images = batch(2, dtype, image.shape)
    cool(model, images)
    with torch.no_grad():
        actual = entropy_gradient_norms(model, images)

    expected = looped(model, images, entropy)
    assert_norms(actual, expected, rtol=1e-10 if dtype == torch.float64 else 1e-4)
    assert (expected > 0).all()
    assert [] == warnings(caplog)


def test_equals_torch_func() -> None:
    """A second reference: vmap of grad over functional_call."""
    model, images = made(NETWORKS["residual blocks, in place"]), batch()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return wavy(functional_call(model, (parameters, buffers), (image[None],)).logits).sum()

    gradients = vmap(grad(loss), (None, 0))(parameters, images)
    expected = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()], dim=1)

    assert_norms(gradient_norms(model, images, wavy), expected, rtol=1e-10)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_all_forms_of_a_convolution_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice between the forms, made for speed, would change the score. The form for a GPU
    is run by no other test."""
    module, images = CONVOLUTIONS[name]().double(), batch()
    weight = module.weight.detach().requires_grad_()
    padding = 0 if name == "reflected" else module.padding
    options = (None, module.stride, padding, module.dilation, module.groups)
    gradient = torch.randn_like(F.conv2d(images, weight, *options))
    slopes = [
        torch.autograd.grad(F.conv2d(image[None], weight, *options), weight, slope[None])[0]
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


@pytest.mark.parametrize("gram", [False, True])
def test_both_forms_of_a_linear_layer_agree(gram: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice between the forms, made for speed, would change the score."""
    model, images = made(NETWORKS["linear of N T D"]), batch()
    monkeypatch.setattr(OuterProducts, "prefers_gram", lambda _: gram)

    assert_norms(gradient_norms(model, images, wavy), looped(model, images), rtol=1e-10)


def test_the_cheaper_form_is_taken() -> None:
    """The deep layers of a ResNet would take 20 times longer, or the first fill the memory."""
    first = OuterProducts(outputs=64, inputs=64, positions=34 * 34, length=1086, shifts=[[0] * 9])
    last = OuterProducts(outputs=512, inputs=512, positions=36, length=22, shifts=[[0] * 9])
    classifier = OuterProducts(outputs=10, inputs=512, positions=1, length=1, shifts=[[0]])

    assert [False, True, True] == [x.prefers_gram() for x in (first, last, classifier)]


@pytest.mark.parametrize("name", ["grouped", "strided", "linear of N T D"])
def test_chunks_do_not_change_norms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms would depend on how many images fit in the memory."""
    model, images = made(NETWORKS[name]), batch()
    whole = gradient_norms(model, images, wavy)
    monkeypatch.setattr(gradient_layers, "CPU_BYTES", 1)

    torch.testing.assert_close(gradient_norms(model, images, wavy), whole)


def test_norms_do_not_depend_on_the_batch() -> None:
    """A unit's score would depend on how the pool is divided."""
    model, images = made(NETWORKS["residual blocks, in place"], torch.float32), batch(7)
    images = images.float()
    together = entropy_gradient_norms(model, images)
    alone = torch.cat([entropy_gradient_norms(model, image[None]) for image in images])

    torch.testing.assert_close(together.sqrt(), alone.sqrt(), rtol=1e-5, atol=1e-6)


def shared_layer() -> nn.Module:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    return network(layer, nn.Tanh(), layer)


def tied_weights() -> nn.Module:
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return network(first, nn.Tanh(), second)


def unseen(self: Any, x: Tensor) -> Tensor:
    """What a compiled extension does: torch functions that Python does not see."""
    with torch._C.DisableTorchFunction():
        return F.conv2d(x, self.layer.weight)


WITHOUT_A_BATCHED_FORM: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a parameter of its own": (
        lambda: network(Does(lambda self, x: x * self.scale, scale=nn.Parameter(torch.ones(8)))),
        "parts.0.scale (used by mul)",
    ),
    "an embedding": (
        lambda: network(Does(lambda self, x: self.table((x > 0).long()), table=nn.Embedding(2, 3))),
        "parts.0.table.weight (used by embedding)",
    ),
    "attention": (
        lambda: network(
            as_tokens(),
            Does(
                lambda self, x: self.attention(x, x, x)[0],
                attention=nn.MultiheadAttention(4, 2, batch_first=True),
            ),
        ),
        "parts.1.attention.in_proj_weight",
    ),
    "a transposed convolution": (
        lambda: network(nn.ConvTranspose2d(4, 3, 3, stride=2)),
        "parts.0.weight (used by conv_transpose2d)",
    ),
    "a layer that is called twice": (shared_layer, "parts.0.weight (used 2 times)"),
    "two layers with one weight": (tied_weights, "parts.0.weight (used 2 times)"),
    "a parametrised weight": (
        lambda: network(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3))),
        "parts.0.parametrizations.weight.original0",
    ),
    "a layer and its weight": (
        lambda: network(
            Does(lambda self, x: self.layer(x) + self.layer.weight.sum(), layer=nn.Conv2d(4, 3, 3))
        ),
        "parts.0.layer.weight",
    ),
    "a use that is not seen": (
        lambda: network(Does(unseen, layer=nn.Conv2d(4, 3, 3, bias=False))),
        "parts.0.layer.weight",
    ),
    "a layer of a constant": (
        lambda: network(
            Does(
                lambda self, x: x + self.layer(torch.ones(5, 8, dtype=x.dtype))[0],
                layer=nn.Linear(8, 8),
            )
        ),
        "parts.0.layer.weight (of an input that does not depend on the images)",
    ),
    "time before images": (
        lambda: network(
            Does(
                lambda self, x: self.layer(x.flatten(2).movedim(2, 0)).movedim(0, 1),
                layer=nn.Linear(4, 3),
            )
        ),
        "parts.0.layer.weight (of an input whose first axis is not that of the images)",
    ),
    "images and positions in one axis": (
        lambda: network(
            Does(
                lambda self, x: self.layer(x.reshape(-1, 8)).reshape(len(x), -1),
                layer=nn.Linear(8, 3),
            )
        ),
        "parts.0.layer.weight (of an input whose first axis is not that of the images)",
    ),
}


@pytest.mark.parametrize("name", WITHOUT_A_BATCHED_FORM)
def test_other_networks_are_right_too(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A parameter would be left out of the norm in silence, or be counted wrongly."""
    make, named = WITHOUT_A_BATCHED_FORM[name]
    model, images = made(make), batch()
    with torch.no_grad():
        actual = gradient_norms(model, images, wavy)
        gradient_norms(model, images, wavy)

    assert_norms(actual, looped(model, images), rtol=1e-10)
    assert 1 == len(warnings(caplog))
    assert named in warnings(caplog)[0] and "Says" in warnings(caplog)[0]


def test_an_input_that_is_changed_afterwards_has_no_norms() -> None:
    """Torch refuses to differentiate such a network: numbers from the changed input are wrong."""
    layer = nn.GroupNorm(2, 4)
    changes = Does(lambda self, x: (y := x + 1, self.layer(y), y.mul_(2))[1], layer=layer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient_norms(made(lambda: network(changes)), batch(), wavy)


@pytest.mark.parametrize("memory", [1, 2**29])
def test_the_way_out_keeps_to_its_memory(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large network outside the batched form would need all its gradients at once."""
    model, images = made(WITHOUT_A_BATCHED_FORM["a parameter of its own"][0]), batch()
    monkeypatch.setattr(gradient_norms_module, "FALLBACK_BYTES", memory)

    assert_norms(gradient_norms(model, images, wavy), looped(model, images), rtol=1e-10)


@pytest.mark.parametrize("name", ["time before images", "linear of N T D"])
def test_as_many_positions_as_images(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """With 72 images of 72 positions, positions would pass for images, or a network be slow."""
    known = name in NETWORKS
    model = made(NETWORKS[name] if known else WITHOUT_A_BATCHED_FORM[name][0])
    images = batch(72)

    assert_norms(gradient_norms(model, images, wavy), looped(model, images), rtol=1e-10)
    assert known == (not warnings(caplog))


def test_frozen_parameters_count(caplog: pytest.LogCaptureFixture) -> None:
    """The score of a network would depend on what was trained last."""
    model, images = made(NETWORKS["residual blocks, in place"]), batch()
    expected = looped(model, images)
    model.requires_grad_(False)

    assert_norms(gradient_norms(model, images, wavy), expected, rtol=1e-10)
    assert [] == warnings(caplog)


def entropy(logits: Tensor) -> Tensor:
    """N: in nats, over classes, the mean over positions; written out."""
    per_position = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    return per_position.reshape(len(logits), -1).mean(1)


def test_entropy_is_averaged_over_positions() -> None:
    """Larger images would score higher."""
    model, images = made(NETWORKS["logits of N C H W"]), batch()
    actual = entropy_gradient_norms(model, images)

    assert_norms(actual, looped(model, images, entropy), rtol=1e-10)


def says(*logits: float) -> nn.Module:
    """A bias and nothing else decides the logits: its gradient is that at the logits."""
    layer = nn.Linear(1, len(logits)).double()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(logits))
    return Says(layer).eval()


def test_hand_value_of_a_binary_prediction() -> None:
    """p = 0.8: |dH/dz_1| = 0.8 * 0.2 * ln 4 = 0.2218 (methods, Sec. 4), at each of the two."""
    weight, bias = entropy_gradient_norms(says(4.0**0.5, 0.6137056388801094), batch(1, shape=(1,)))[
        0
    ]

    assert weight.item() > 0
    assert bias.item() == pytest.approx(2 * 0.2218071**2, rel=1e-6)


def test_zero_for_a_uniform_prediction() -> None:
    """The score does not favour the most uncertain images, which users must be able to rely on."""
    assert entropy_gradient_norms(says(0.7, 0.7, 0.7), batch(3, shape=(1,))).max() < 1e-30


def test_certain_predictions_are_finite() -> None:
    """One confident image would end the run: 0 times infinity is NaN."""
    for gap in (40.0, 200.0, 2000.0):
        squared = entropy_gradient_norms(says(gap, 0.0), batch(2, shape=(1,)))

        assert squared.isfinite().all() and squared.max() < 1e-14


def expected_loss(logits: Tensor) -> Tensor:
    """N: sum_i p_i CE_i, the paper's other loss."""
    return (logits.softmax(1) * -logits.log_softmax(1)).sum(1)


def detached_expectation(logits: Tensor) -> Tensor:
    return (logits.softmax(1).detach() * -logits.log_softmax(1)).sum(1)


def test_expected_loss_is_the_entropy_unless_detached() -> None:
    """Two scores of the paper are one; a detached one would be rounding noise."""
    model, images = made(NETWORKS["batch norm"]), batch()
    by_entropy = entropy_gradient_norms(model, images)

    assert_norms(gradient_norms(model, images, expected_loss), by_entropy, rtol=1e-10)
    assert gradient_norms(model, images, detached_expectation).max() < 1e-24 * by_entropy.max()


def test_sum_exceeds_whole_exceeds_largest() -> None:
    """The two aggregations of the tensors, sum of norms and norm of all, would be mixed up."""
    squared = entropy_gradient_norms(made(NETWORKS["batch norm"]), batch())
    whole = squared.sum(1).sqrt()

    assert (squared.sqrt().sum(1) > whole).all()
    assert (whole > squared.max(1).values.sqrt()).all()


def test_many_losses_after_one_forward() -> None:
    """The expected gradient length asks for each class: C forwards would be C times the cost."""
    model, images = made(NETWORKS["residual blocks, in place"]), batch()
    gradients = PerUnitGradients(model, images)
    for label in range(3):
        slopes = gradients.logits.softmax(1) - F.one_hot(torch.tensor(label), 3)
        labels = torch.full((1,), label)
        expected = looped(model, images, lambda z, y=labels: F.cross_entropy(z, y)[None])

        assert_norms(gradients.squared_norms(slopes), expected, rtol=1e-10)

    asked = made(NETWORKS["batch norm"])
    asked.calls = 0
    gradients = PerUnitGradients(asked, images)
    gradients.squared_norms(gradients.logits)
    gradients.squared_norms(gradients.logits)
    assert 1 == asked.calls


@pytest.mark.parametrize("bias", [False, True])
def test_last_layer_in_closed_form(bias: bool) -> None:
    """BADGE-like scores of the last layer would not be its gradient norms."""
    model, images = made(lambda: Says(nn.Linear(6, 3, bias=bias))), batch(shape=(6,))
    slopes = batch(shape=(3,))
    expected = PerUnitGradients(model, images).squared_norms(slopes).sum(1)

    torch.testing.assert_close(last_layer_norms(slopes, images, bias), expected)


def state(model: nn.Module) -> list[Any]:
    return [
        {name: value.clone() for name, value in model.state_dict().items()},
        [(p.grad, p.requires_grad, p._version, p._backward_hooks) for p in model.parameters()],
        [b.requires_grad for b in model.buffers()],
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        [(len(m._backward_hooks), sorted(vars(m))) for m in model.modules()],
    ]


def raises(logits: Tensor) -> Tensor:
    raise ValueError("a loss of a user")


@pytest.mark.parametrize("name", ["residual blocks, in place", "a parameter of its own"])
def test_networks_are_only_read(name: str) -> None:
    """Training would go on from other weights or flags, also after an error."""
    model = made(NETWORKS.get(name) or WITHOUT_A_BATCHED_FORM[name][0])
    next(model.parameters()).requires_grad_(False)
    images, before = batch(), state(model)
    kept = images.clone()
    with torch.no_grad():
        gradient_norms(model, images, wavy)
    with pytest.raises(ValueError, match="a loss of a user"):
        gradient_norms(model, images, raises)
    with pytest.raises(RuntimeError):  # the last linear layer does not fit these
        gradient_norms(model, batch(shape=(4, 7, 8)), wavy)

    after = state(model)
    assert before[1:] == after[1:]
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert torch.equal(images, kept) and not images.requires_grad
    assert torch.is_grad_enabled()
    assert torch.equal(model(images).logits, model(images).logits)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["residual blocks, in place", "a parameter of its own"])
def test_works_where_gradients_are_off(name: str, around: Callable[[], Any]) -> None:
    """The scoring pass runs without gradients."""
    model = made(NETWORKS.get(name) or WITHOUT_A_BATCHED_FORM[name][0])
    expected = looped(model, batch(1))
    with around():
        actual = gradient_norms(model, batch(1), wavy)

    assert_norms(actual, expected, rtol=1e-10)
    assert not actual.requires_grad


def test_autocast_makes_the_forward_coarser_and_nothing_else() -> None:
    """Norms that are added up in bfloat16 would have two digits."""
    model, images = made(NETWORKS["residual blocks, in place"], torch.float32), batch().float()
    exact = gradient_norms(model, images, wavy).sum(1)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = gradient_norms(model, images, wavy).sum(1)

    assert torch.float32 == coarse.dtype
    torch.testing.assert_close(coarse, exact, rtol=0.1, atol=0)


def test_other_memory_layouts() -> None:
    """Networks on a GPU are in another layout, where a view of one can be a copy in the other."""
    model, images = made(NETWORKS["residual blocks, in place"]), batch()
    expected = gradient_norms(model, images, wavy)
    turned = model.to(memory_format=torch.channels_last)

    assert_norms(
        gradient_norms(turned, images.to(memory_format=torch.channels_last), wavy), expected, 1e-10
    )


def test_memory_is_free_afterwards() -> None:
    """A scoring pass would keep the activations of every batch until the collector runs."""
    gradients = PerUnitGradients(made(NETWORKS["batch norm"]), batch())
    gradients.squared_norms(gradients.logits)
    kept = [weakref.ref(tap.layer.x) for tap in gradients._trace.taps]
    assert all(ref() is not None for ref in kept)
    del gradients

    assert all(ref() is None for ref in kept)


def test_train_mode_is_refused() -> None:
    """Batch norm would mix the images, and change its running statistics."""
    with pytest.raises(AssertionError, match="eval mode"):
        PerUnitGradients(made(NETWORKS["batch norm"]).train(), batch())


def test_batch_norm_over_the_batch_is_refused() -> None:
    """Such images have no gradients of their own, whatever would be computed."""
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(UsageError, match="track_running_stats=True"):
        PerUnitGradients(made(lambda: Says(nn.Conv2d(4, 4, 3), norm)), batch())
    norm = nn.BatchNorm2d(4, track_running_stats=True)
    PerUnitGradients(made(lambda: Says(nn.Conv2d(4, 4, 3), norm)), batch())


def test_networks_without_gradients() -> None:
    """A network with nothing to learn, or one that ignores its images, would end the run."""
    nothing, constant = Says(nn.Flatten()), Says(Does(lambda _, x: torch.ones(len(x), 3)))

    assert (5, 0) == gradient_norms(nothing.eval(), batch(), wavy).shape
    assert (5, 0) == gradient_norms(constant.eval(), batch(), wavy).shape


def test_frozen_layers_that_are_not_seen_take_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    """A frozen weight leaves no trace in the graph: it could be used unseen, and be left out."""
    model, images = made(lambda: network(Does(unseen, layer=nn.Conv2d(4, 3, 3)))), batch()
    expected = looped(model, images)
    model.requires_grad_(False)

    assert_norms(gradient_norms(model, images, wavy), expected, rtol=1e-10)
    assert "parts.0.layer.weight (frozen" in warnings(caplog)[0]


@pytest.mark.gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["residual blocks, in place", "grouped", "layer norm"])
def test_a_gpu_gives_the_same(name: str, layout: torch.memory_format) -> None:
    """The forms for a GPU would give other scores there."""
    model, images = made(NETWORKS[name]), batch()
    expected = looped(model, images)
    there = model.to("cuda", memory_format=layout)

    actual = gradient_norms(there, images.to("cuda", memory_format=layout), wavy)
    assert_norms(actual.cpu(), expected, rtol=1e-9)
