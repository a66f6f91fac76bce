"""The discriminator: what it computes, what it sees, and who may change it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.data.masks import IGNORE
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import UsageError
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.companions.base import Companions
from rayal.models.companions.discriminator import (
    Discriminator,
    DiscriminatorSpec,
    one_hot,
    unit_range,
)
from rayal.models.weights import load_weights, save_weights
from rayal.parts import find, names
from rayal.training.learner import Learner
from rayal.training.schemes.supervised import Supervised

CLASSES = 4
SPEC = ImageSpec(channels=3, height=32, width=48, mean=(0.4,) * 3, std=(0.2,) * 3)


def discriminator(**fields: float) -> Discriminator:
    """A small one, always the same."""
    torch.manual_seed(3)
    model = SmallSegmenter(width=4).network(CLASSES, SPEC)
    return DiscriminatorSpec.model_validate({"width": 4, **fields}).build(
        model, CLASSES, lambda: nn.Identity()
    )


def pairs(count: int = 3, size: tuple[int, int] = (32, 48), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Masks and images."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randn(count, CLASSES, *size, generator=generator).softmax(1)
    return masks, torch.randn(count, 3, *size, generator=generator)


def test_agrees_with_its_definition() -> None:
    """Another slope, stride or pooling would be another discriminator than the paper's."""
    made = discriminator().eval()
    masks, images = pairs()
    x = torch.cat([masks, unit_range(images)], dim=1)
    weights = list(made.parameters())
    for weight, bias in zip(weights[:8:2], weights[1:8:2], strict=True):
        assert weight.shape[2:] == (4, 4)
        x = F.conv2d(x, weight, bias, stride=2, padding=1)
        x = torch.where(x > 0, x, 0.2 * x)
    features = x.sum(dim=(2, 3)) / (2 * 3)  # a sixteenth of 32 and 48
    logits = features @ weights[8][0] + weights[9]

    judged = made(masks, images)
    torch.testing.assert_close(judged.features, features)
    torch.testing.assert_close(judged.logits, logits)
    torch.testing.assert_close(judged.probability, 1 / (1 + (-logits).exp()))


def test_is_as_large_as_the_official_one() -> None:
    """Its width would not be what the documentation says (2.8 million weights on VOC)."""
    made = DiscriminatorSpec().build(nn.Conv2d(3, 8, 1), 21, lambda: nn.Identity())
    convolutions = [24 * 64, 64 * 128, 128 * 256, 256 * 512]

    expected = 16 * sum(convolutions) + (64 + 128 + 256 + 512) + 513
    assert expected == sum(p.numel() for p in made.parameters()) == 2_778_561
    assert 512 == made.classifier.in_features
    assert [0.5, 0.5, 0.5, 0.0] == [m.p for m in made.modules() if isinstance(m, nn.Dropout2d)]


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (72, 96), (321, 321)])
def test_takes_any_size(size: tuple[int, int]) -> None:
    """Official code is tied to crops of 321x321: whole images could not be scored."""
    judged = discriminator()(*pairs(2, size))

    assert ((2,), (2, 32)) == (judged.logits.shape, judged.features.shape)


def test_images_too_small_are_refused() -> None:
    """The message would be about kernel sizes."""
    with pytest.raises(
        UsageError, match="sees 12x96 pixels, it needs 16x16; .* scheme.augment.window"
    ):
        discriminator()(*pairs(2, (12, 96)))
    discriminator()(*pairs(2, (16, 96)))


@pytest.mark.parametrize("size", [(15, 40), (40, 15), (16, 16)])
def test_says_beforehand_what_it_refuses(size: tuple[int, int]) -> None:
    """A run that passes its check would end in the first step."""
    reason = DiscriminatorSpec().accepts(*size)

    if reason is None:
        assert (16, 16) == size
        discriminator()(*pairs(1, size))
    else:
        with pytest.raises(UsageError, match=reason):
            discriminator()(*pairs(1, size))


def spec(channels: int) -> ImageSpec:
    return ImageSpec(
        channels=channels, height=64, width=64, mean=(0.5,) * channels, std=(1.0,) * channels
    )


def dense_models() -> list[tuple[str, int]]:
    """Every model that predicts maps, with each number of channels that it accepts."""
    kinds = {name: find("models", name) for name in names("models")}
    dense = [name for name, kind in kinds.items() if "segmentation" in kind.tasks]
    return [(name, c) for name in dense for c in (1, 3) if not kinds[name]().accepts(spec(c))]


@pytest.mark.parametrize(("name", "channels"), dense_models())
def test_fits_every_dense_model(name: str, channels: int) -> None:
    """A run would fail in its first step, or on images that are not of three channels."""
    with torch.device("meta"):
        network = find("models", name)().network(CLASSES, spec(channels))
        made = DiscriminatorSpec().build(network, CLASSES, lambda: network)

    assert CLASSES + channels == next(made.parameters()).shape[1]


def test_unit_range_by_hand() -> None:
    """Each image would be stretched by its neighbours, or its channels each by themselves."""
    images = torch.tensor([[[[-1.0, 0.0]], [[1.0, 3.0]]], [[[5.0, 5.0]], [[5.0, 5.0]]]])

    expected = [[[[0.0, 0.25]], [[0.5, 1.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]]
    assert expected == unit_range(images).tolist()


def test_brightness_and_contrast_do_not_matter() -> None:
    """What the discriminator has learned would depend on how a dataset is normalised."""
    made = discriminator().eval()
    masks, images = pairs()

    torch.testing.assert_close(
        made(masks, images).logits, made(masks, 7 * images - 2).logits, rtol=1e-4, atol=1e-6
    )


def test_an_image_does_not_depend_on_its_company() -> None:
    """Scores would depend on the batch, as official training does on its extremes."""
    made = discriminator().eval()
    masks, images = pairs(4)
    images[0] *= 100
    alone = [made(masks[i : i + 1], images[i : i + 1]).logits for i in range(4)]

    torch.testing.assert_close(made(masks, images).logits, torch.cat(alone))


def test_one_hot_by_hand() -> None:
    """A pixel without a label would be shown as one of some class."""
    labels = torch.tensor([[[0, 2], [IGNORE, 1]]], dtype=torch.uint8)

    expected = [[[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 0]]]]
    assert expected == one_hot(labels, 3).tolist()


def test_drops_channels_in_training_alone() -> None:
    """Two scores of an image would differ; or it would learn masks by heart."""
    made = discriminator()
    training = [made(*pairs()).logits for _ in range(2)]
    made.eval()
    scoring = [made(*pairs()).logits for _ in range(2)]

    assert not torch.equal(*training)
    assert torch.equal(*scoring)


def test_learns_inside_learning_alone() -> None:
    """The model's step would leave gradients in it, which the next step of its own adds to."""
    made = discriminator()
    masks, images = pairs()
    masks.requires_grad_(True)
    made(masks, images).logits.sum().backward()

    assert masks.grad is not None and masks.grad.abs().sum() > 0
    assert all(p.grad is None for p in made.parameters())
    with made.learning():
        made(masks.detach(), images).logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())
    assert not any(p.requires_grad for p in made.parameters())


def test_the_models_optimizer_does_not_hold_it() -> None:
    """SGD at the model's rate, and its weight decay, would move it beside its own Adam."""
    made = discriminator()
    model = SmallSegmenter(width=4).network(CLASSES, SPEC)
    learner = Learner(
        Supervised(steps=3, batch_size=2),
        model,
        Segmentation(),
        Companions([(DiscriminatorSpec(), made)]),
    )
    held = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}

    assert {id(p) for p in model.parameters()} == held


def test_a_weights_file_continues_it() -> None:
    """Scoring, or a warm start, would ask a discriminator that has learned nothing."""
    made = discriminator()
    other = copy.deepcopy(made)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    load_weights(made, save_weights(other))

    assert torch.equal(other.eval()(*pairs()).logits, made.eval()(*pairs()).logits)


def test_is_of_use_only_to_a_scheme_that_plays_against_it() -> None:
    """A strategy would rank by random weights; or could not watch a run of `s4gan`."""
    asked = DiscriminatorSpec()

    assert asked.filled_by_scheme and not asked.changes_training
