"""The loss head: its hand values, what it reads of which network, and when it lets the model be."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.pixels import valid_pixels
from rayal.data.tasks.base import Task
from rayal.data.tasks.classification import Classification
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import UsageError
from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.architectures.vgg16 import Vgg16
from rayal.models.architectures.wide_resnet import WideResnet
from rayal.models.base import Model, Outputs
from rayal.models.build import build
from rayal.models.companions.base import Companions
from rayal.models.companions.loss_head import LossHead, LossHeadSpec, Objective, pair_losses
from rayal.models.wrap import wrap
from rayal.testing.model import spec as image_of
from rayal.training.base import Batch
from rayal.training.learner import Learner
from rayal.training.schemes.supervised import Supervised

CLASSES = 5
IMAGE = ImageSpec(channels=3, height=16, width=16, mean=(0.5,) * 3, std=(0.25,) * 3)
PREDICTED, LOSSES = torch.tensor([0.3, 1.0, 0.2, 0.9]), torch.tensor([0.5, 2.0, 1.0, 0.5])
"""The pairs are (0, 3), whose losses are equal, and (1, 2)."""
OBJECTIVES: tuple[Objective, ...] = ("hinge", "logistic")
both = pytest.mark.parametrize("objective", OBJECTIVES)


def head_of(network: nn.Module, **options: Any) -> LossHead:
    torch.manual_seed(0)
    return LossHeadSpec(**options).build(network, CLASSES, lambda: nn.Identity())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def maps(images: int, *sizes: int, channels: int = 4) -> tuple[Tensor, ...]:
    """Of each block, square maps of this size."""
    return tuple(noise(images, channels, size, size, seed=size) for size in sizes)


def of_maps(blocks: int, channels: int = 4, **options: Any) -> LossHead:
    """A head for as many blocks."""
    torch.manual_seed(0)
    return LossHead((channels,) * blocks, LossHeadSpec(width=8, **options))


# What pairs cost


def test_hand_values() -> None:
    """Pairs, sign, margin or mean would be others: by hand (0.4 + 0.2) / 2, and with the logistic
    loss (ln(1 + e^-0.6) + ln(1 + e^-0.8)) / 2 = 0.40429 (methods, Sec. 14 and 16)."""
    assert [0.4, 0.2] == pytest.approx(pair_losses(PREDICTED, LOSSES, "hinge").tolist())
    assert 0.40429 == pytest.approx(float(pair_losses(PREDICTED, LOSSES, "logistic").mean()), 1e-4)


def test_another_margin_by_hand() -> None:
    """The margin would be a constant: the pairs are 0.6 and 0.8 apart, as they should be."""
    assert [0.05, 0] == pytest.approx(pair_losses(PREDICTED, LOSSES, "hinge", 0.65).tolist())


def naive(predicted: Tensor, losses: Tensor, objective: str, margin: float) -> list[float]:
    """Pair by pair, as the papers write it."""
    found, last = [], len(predicted) - 1
    for i in range(len(predicted) // 2):
        apart = float(predicted[i]) - float(predicted[last - i])
        larger = float(losses[i]) > float(losses[last - i])
        if objective == "hinge":
            found.append(max(0.0, margin - (1 if larger else -1) * apart))
        else:
            share = torch.tensor(apart, dtype=torch.float64).sigmoid()
            truth = torch.tensor(float(larger), dtype=torch.float64)
            found.append(float(F.binary_cross_entropy(share, truth)))
    return found


@both
@pytest.mark.parametrize("images", [2, 3, 8, 33])
def test_agrees_with_the_definition(objective: Objective, images: int) -> None:
    """Another pair, or another sign where losses are equal."""
    predicted = noise(images)
    losses = noise(images, seed=1).round()  # some are equal

    expected = naive(predicted, losses, objective, 1.0)
    assert expected == pytest.approx(pair_losses(predicted, losses, objective).tolist(), abs=1e-6)


def test_a_perfect_order_costs_nothing() -> None:
    """The head would be pushed on for ever, or the order be the reverse."""
    losses = noise(16).exp()
    order = losses.argsort().argsort().float()  # predictions at least 1 apart

    assert 0 == pair_losses(order, losses, "hinge").sum()
    assert (pair_losses(-order, losses, "hinge") >= 2).all()


@both
def test_the_middle_of_an_odd_batch_has_no_pair(objective: Objective) -> None:
    """A batch of odd size would stop the run, as in the code, or pair an image with itself."""
    predicted = (0.01 * noise(5)).requires_grad_()  # near enough that every pair costs something
    pair_losses(predicted, noise(5, seed=1), objective).sum().backward()
    assert predicted.grad is not None

    assert [True, True, False, True, True] == (predicted.grad != 0).tolist()


def test_a_single_image_costs_nothing() -> None:
    """The mean of no pairs is no number; and workers wait for gradients of all weights."""
    head = of_maps(2)
    loss = head.loss(Outputs(noise(1, 5), noise(1, 4), maps(1, 4, 2)), torch.ones(1), 0.0)
    loss.backward()

    assert 0 == float(loss.detach())
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_weight_and_margin_count() -> None:
    """Options would be without effect."""
    outputs = Outputs(noise(6, 5), noise(6, 4), maps(6, 4, 2))
    losses, plain = noise(6, seed=1), of_maps(2)
    predicted = plain.predict(outputs.layers).detach()

    for options in ({"weight": 0.5}, {"margin": 3.0}, {"objective": "logistic"}):
        s = LossHeadSpec(**options)
        expected = sum(naive(predicted, losses, s.objective, s.margin)) / 3 * s.weight
        loss = of_maps(2, **options).loss(outputs, losses, 0.0)
        assert expected == pytest.approx(float(loss.detach()), rel=1e-5)


# What it reads


def test_the_published_number_of_weights() -> None:
    """Another head: by hand (64 + 128 + 256 + 512) 128 + 4 128 and 512 + 1."""
    head = head_of(build(Resnet18(), 10, IMAGE, seed=0))

    assert 123_905 == sum(parameter.numel() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        (SmallCnn(width=4), (4, 8, 16, 16)),
        (WideResnet(depth=10), (32, 64, 128)),
        (Vgg16(), (64, 128, 256, 512, 512)),
        (SmallSegmenter(width=4), (4, 8, 8, 16)),
    ],
    ids=lambda value: value.part_name() if isinstance(value, Model) else "",
)
def test_reads_all_blocks_of_any_network(model: Model, channels: tuple[int, ...]) -> None:
    """A network of three stages, or of maps that are no squares, would not be for it."""
    size = (32, 48) if model.tasks == {"segmentation"} else (32, 32)
    network = build(model, CLASSES, image_of(*size), seed=0).eval()
    head = head_of(network, width=6)
    outputs = network(noise(3, 3, *size))
    means = [each.mean(dim=(2, 3)) for each in outputs.layers]
    hidden = [
        (mean @ block[0].weight.T + block[0].bias).clamp(min=0)  # type: ignore[index]
        for mean, block in zip(means, head.blocks, strict=True)
    ]
    last = head.classifier
    expected = torch.cat(hidden, dim=1) @ last.weight[0] + last.bias

    assert channels == tuple(mean.shape[1] for mean in means)
    assert (3,) == head.predict(outputs.layers).shape
    torch.testing.assert_close(head.predict(outputs.layers), expected)


def test_a_network_without_maps_is_refused() -> None:
    """The first step of a training would end in a traceback; the way out is another network."""
    plain = wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), images=noise(2, 3, 2, 2))
    with pytest.raises(UsageError, match=r"shows no maps of its blocks .* such as resnet18"):
        head_of(plain)
    head_of(build(Resnet18(width=4), CLASSES, IMAGE, seed=0))


SIDES = (56, 28, 14, 7)
"""Of the maps of a ResNet of 224 px."""


def test_the_corner_is_that_of_the_code() -> None:
    """On large images another part of the maps would be pooled than in the code, which takes the
    mean of fixed windows and gets one of them, the first."""
    layers = maps(3, *SIDES)
    means = [
        F.avg_pool2d(each, window) for each, window in zip(layers, (32, 16, 8, 4), strict=True)
    ]
    assert all((1, 1) == each.shape[2:] for each in means)

    torch.testing.assert_close(of_maps(4, corner=32).predict(layers), of_maps(4).predict(means))
    assert not torch.allclose(of_maps(4, corner=32).predict(layers), of_maps(4).predict(layers))


def test_the_corner_of_small_images_is_all_of_them() -> None:
    """The official option would change the protocol that it is from; maps smaller than a window
    would be an error."""
    for sides in ((32, 16, 8, 4), (8, 4, 2, 1)):
        layers = maps(2, *sides)
        assert torch.equal(of_maps(4, corner=32).predict(layers), of_maps(4).predict(layers))
    one = maps(2, 2, 2, 2, 2)  # of whose last map a corner of 2 sees one position
    expected = [each[:, :, :n, :n] for each, n in zip(one, (2, 1, 1, 1), strict=True)]
    assert torch.equal(of_maps(4, corner=2).predict(one), of_maps(4).predict(expected))


@pytest.mark.parametrize("corner", [None, 6])
@pytest.mark.parametrize("size", [(16, 16), (8, 12), (5, 3), (1, 1)])
def test_filling_counts_nowhere(size: tuple[int, int], corner: int | None) -> None:
    """An image would rank by how much of the canvas it leaves free."""
    height, width = size
    layers = maps(1, 16, 16)  # at pixels, so that filling changes no other
    canvas = tuple(torch.full_like(each, 50.0) for each in layers)
    for whole, each in zip(canvas, layers, strict=True):
        whole[:, :, :height, :width] = each[:, :, :height, :width]
    cut, head = [each[:, :, :height, :width] for each in layers], of_maps(2, corner=corner)

    valid = valid_pixels(torch.tensor([size]), 16, 16)
    torch.testing.assert_close(head.predict(canvas, valid), head.predict(cut))


def test_predictions_are_float32_whatever_the_model_computes_in() -> None:
    """Of thousands of images many would tie in bfloat16, and chance would choose."""
    layers = tuple(each.bfloat16() for each in maps(200, 4, 2))
    head = of_maps(2)
    with torch.autocast("cpu", torch.bfloat16):
        inside = head.predict(layers)

    assert torch.float32 == inside.dtype and 200 == len(inside.unique())
    assert torch.equal(inside, head.predict(layers))


# When it lets the model be


def learner_of(model: Model, task: Task, image: ImageSpec = IMAGE, **options: Any) -> Learner:
    network = build(model, CLASSES, image, seed=1)
    head = head_of(network, width=8, **options)
    companions = Companions([(LossHeadSpec(**options), head)])
    return Supervised(epochs=10).start(network, task, companions, 0)


def gradients(learner: Learner, batch: Batch) -> list[Tensor]:
    """Of the model's weights, in this step."""
    learner.optimizer.zero_grad()
    learner.loss(batch).backward()
    return [p.grad.clone() for p in learner.model.parameters() if p.grad is not None]


@both
@pytest.mark.parametrize("dense", [False, True])
def test_detached_it_changes_no_gradient_of_the_model(objective: Objective, dense: bool) -> None:
    """The last phase would still be regularised; or the first one would not, and the head predict
    from maps that never heard of losses."""
    model: Model = SmallSegmenter(width=4) if dense else SmallCnn(width=4)
    task: Task = Segmentation() if dense else Classification()
    labels = torch.arange(8) % CLASSES
    labels = labels[:, None, None].expand(8, 16, 16) if dense else labels
    before, after = (Batch(noise(8, 3, 16, 16), labels, step, 10) for step in (5, 6))
    with_head = learner_of(model, task, objective=objective)
    alone = Supervised().start(with_head.model, task, Companions(), 0)
    expected = gradients(alone, after)

    for one, other in zip(expected, gradients(with_head, after), strict=True):
        assert torch.equal(one, other)
    assert all(p.grad is not None for p in with_head.companions.of(LossHeadSpec).parameters())
    pairs = zip(expected, gradients(with_head, before), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("after", "epochs"), [(0, 0), (0.6, 120), (0.605, 121), (1, 200)])
@pytest.mark.parametrize("steps", [1, 8, 391])
def test_epochs_with_gradient(after: float, epochs: int, steps: int) -> None:
    """Paper and code differ by one epoch of 200: rounding must not make it another."""
    head, (layer,) = of_maps(1, detach_after=after), maps(4, 1)
    layer.requires_grad_()
    reached = []
    for epoch, step in itertools.product(range(118, 123), (0, steps - 1)):
        progress = Batch(layer, layer, epoch * steps + step, 200 * steps).progress
        loss = head.loss(Outputs(layer, layer, (layer,)), noise(4), progress)
        reached.append(torch.autograd.grad(loss, layer, allow_unused=True)[0] is not None)

    assert [epoch < epochs for epoch in range(118, 123) for _ in range(2)] == reached


def test_labels_of_losses_get_no_gradient() -> None:
    """The model could lower the head's loss by making its own losses easy to order."""
    with_head = learner_of(SmallCnn(width=4), Classification())
    seen = []
    head = with_head.companions.of(LossHeadSpec)
    plain = head.loss
    head.loss = lambda o, losses, p: seen.append(losses) or plain(o, losses, p)  # type: ignore
    with_head.loss(Batch(noise(6, 3, 16, 16), torch.arange(6) % CLASSES, 0, 10))

    (losses,) = seen
    assert not losses.requires_grad and (6,) == losses.shape


# How it learns


@pytest.mark.parametrize("follows", [True, False])
def test_its_learning_rate_falls_or_stays(follows: bool) -> None:
    """TOD's repository would have no counterpart, or the model's own rate would stay."""
    options = {"follows_schedule": follows}
    there = learner_of(SmallCnn(width=4), Classification(), **options)
    again = learner_of(SmallCnn(width=4), Classification(), **options)
    rates = []
    for step in (0, 7, 8, 9):
        batch = Batch(noise(6, 3, 16, 16), torch.arange(6) % CLASSES, step, 10)
        there.step(batch)
        again.load_state_dict(there.state_dict())  # as from a checkpoint
        again.set_lr(batch)
        groups = [group["lr"] for group in again.optimizer.param_groups]
        rates.append([again.lr, *groups])

    low = 0.1 if not follows else 0.01
    expected = [[0.1] * 3] * 2 + [[0.01, 0.01, low]] * 2
    assert expected == [pytest.approx(each) for each in rates]


@pytest.mark.parametrize("follows", [True, False])
def test_learns_as_with_an_optimizer_of_its_own(follows: bool) -> None:
    """The head would be trained otherwise than in the code, which has two optimizers."""
    options: dict[str, Any] = {"follows_schedule": follows, "detach_after": 0.5}
    ours = learner_of(SmallCnn(width=4), Classification(), **options)
    other = learner_of(SmallCnn(width=4), Classification(), **options)
    network, head = other.model, other.companions.of(LossHeadSpec)
    both_of_them = [
        torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        for each in (network, head)
    ]
    schedules = [torch.optim.lr_scheduler.MultiStepLR(each, [8]) for each in both_of_them]
    for step in range(10):
        images, labels = noise(7, 3, 16, 16, seed=step), (torch.arange(7) + step) % CLASSES
        ours.step(Batch(images, labels, step, 10))
        outputs = network(images)
        losses = F.cross_entropy(outputs.logits, labels, reduction="none")
        read = [each.detach() if step >= 5 else each for each in outputs.layers]
        predicted = head.predict(read)
        pairs = [(0, 6), (1, 5), (2, 4)]
        ranked = [
            F.margin_ranking_loss(
                *(predicted[i], predicted[j], torch.where(losses[i] > losses[j], 1, -1)), margin=1
            )
            for i, j in pairs
        ]
        for optimizer in both_of_them:
            optimizer.zero_grad()
        (losses.mean() + sum(ranked) / 3).backward()
        for optimizer in both_of_them:
            optimizer.step()
        schedules[0].step()
        if follows:
            schedules[1].step()

    for mine, its in ((ours.model, network), (ours.companions.of(LossHeadSpec), head)):
        for one, same in zip(mine.parameters(), its.parameters(), strict=True):
            torch.testing.assert_close(one, same, rtol=1e-4, atol=1e-6)


def test_goes_on_from_a_checkpoint_that_knows_no_constant_rates() -> None:
    """A training that an earlier rayal began would stop after an upgrade."""
    there, state = (learner_of(SmallCnn(width=4), Classification()) for _ in range(2))
    old = state.state_dict()
    for group in old["optimizer"]["param_groups"]:
        del group["constant"]
    there.load_state_dict(old)
    there.set_lr(Batch(noise(6, 3, 16, 16), torch.arange(6), 9, 10))

    assert [0.01, 0.01] == pytest.approx([g["lr"] for g in there.optimizer.param_groups])


def test_its_loss_is_noted() -> None:
    """Nobody would see whether the head learns."""
    there = learner_of(SmallCnn(width=4), Classification())
    noted = there.step(Batch(noise(6, 3, 16, 16), torch.arange(6) % CLASSES, 0, 10))

    assert 0 < noted["loss_head_loss"] < noted["loss"]


def test_a_margin_without_hinge_is_refused() -> None:
    """Somebody would compare margins that nothing reads."""
    with pytest.raises(UsageError, match="margin 2 is of no use with objective: logistic"):
        LossHeadSpec(objective="logistic", margin=2)
    LossHeadSpec(objective="logistic")
    LossHeadSpec(objective="hinge", margin=2)


def test_changes_the_training_unless_it_only_reads() -> None:
    """An observer would change the model, or one that cannot be refused."""
    assert LossHeadSpec().changes_training and not LossHeadSpec(detach_after=0).changes_training
