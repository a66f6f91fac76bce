"""Segmentation: the loss against a loop over pixels, the metrics against another definition."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch import Tensor
from torch.nn.functional import interpolate

from rayal.data.card import Card, ImageSpec
from rayal.data.images import Decoding
from rayal.data.masks import IGNORE, MaskDecoding, encode
from rayal.data.tasks.classification import Classification
from rayal.data.tasks.segmentation import Segmentation
from rayal.errors import DataError

AVERAGES = ["pixel", "image"]


def case(seed: int = 0, images: int = 4, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Logits on a grid of 3x4 and masks of 7x10, a third of them without a class; of the last
    image all of them."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, 3, 4, generator=generator)
    masks = torch.randint(0, classes, (images, 7, 10), generator=generator, dtype=torch.uint8)
    masks[torch.rand(masks.shape, generator=generator) < 0.3] = IGNORE
    masks[-1] = IGNORE
    return logits, masks


def losses_of_pixels(logits: Tensor, masks: Tensor) -> list[list[Tensor]]:
    """Of every image the cross entropy of its labeled pixels, one after the other."""
    maps = interpolate(logits.double(), masks.shape[1:], mode="bilinear", align_corners=False)
    return [
        [
            image[:, y, x].exp().sum().log() - image[mask[y, x], y, x]
            for y, x in (mask != IGNORE).nonzero().tolist()
        ]
        for image, mask in zip(maps, masks.int(), strict=True)
    ]


def mean_loss(average: str, logits: Tensor, masks: Tensor) -> Tensor:
    """What a batch is taught by."""
    task = Segmentation(average=average)
    losses, weights = task.loss(logits, masks), task.weights(masks)
    return losses.mean() if weights is None else losses @ weights.to(losses) / weights.sum()


def test_the_mean_over_pixels_agrees_with_a_loop():
    """Images with few labels would weigh as much as others, or ignored pixels be learned."""
    logits, masks = case()
    pixels = sum(losses_of_pixels(logits, masks), [])

    assert np.mean(pixels) == pytest.approx(mean_loss("pixel", logits, masks).item(), rel=1e-5)


@pytest.mark.parametrize("average", AVERAGES)
def test_the_loss_of_an_image_is_the_mean_over_its_own_pixels(average):
    """Companions that learn the loss of an image would learn of its company too."""
    logits, masks = case(1)
    *means, nothing = (np.mean(each or [0]) for each in losses_of_pixels(logits, masks))

    found = Segmentation(average=average).loss(logits, masks)
    assert (4,) == found.shape
    assert [*means, nothing] == pytest.approx(found.tolist(), rel=1e-5)
    for i in range(4):
        alone = Segmentation(average=average).loss(logits[i : i + 1], masks[i : i + 1])
        torch.testing.assert_close(found[i : i + 1], alone)


def test_images_count_by_their_labels():
    """One bought polygon is to weigh as much as a whole image only where that is asked for.

    By hand: certain pixels cost 0 and undecided ones log 2; 1 of 1 and 1 of 4 are undecided.
    """
    masks = torch.tensor([[[0, IGNORE], [IGNORE, IGNORE]], [[0, 1], [1, 1]]], dtype=torch.uint8)
    logits = torch.full((2, 2, 2, 2), -60.0)
    logits[1, 1] = 60.0
    logits[:, :, 0, 0] = 0.0

    assert [1.0, 4.0] == Segmentation().weights(masks).tolist()
    assert torch.float32 == Segmentation().weights(masks).dtype
    assert Segmentation(average="image").weights(masks) is None
    assert 2 / 5 * np.log(2) == pytest.approx(mean_loss("pixel", logits, masks).item())
    assert (1 + 1 / 4) / 2 * np.log(2) == pytest.approx(mean_loss("image", logits, masks).item())


@pytest.mark.parametrize("average", AVERAGES)
def test_the_gradient_is_that_of_the_loop(average):
    """Values agree where the gradient of a mean of means is another."""
    logits, masks = case(2, images=2, classes=3)
    masks[-1, :4] = 1
    logits = logits.double().requires_grad_()
    (found,) = torch.autograd.grad(mean_loss(average, logits, masks), logits)
    of_images = [torch.stack(each) for each in losses_of_pixels(logits, masks)]
    means = (
        torch.cat(of_images) if average == "pixel" else torch.stack([m.mean() for m in of_images])
    )

    torch.testing.assert_close(found, torch.autograd.grad(means.mean(), logits)[0])


@pytest.mark.parametrize("average", AVERAGES)
def test_a_batch_without_a_label_teaches_nothing(average):
    """0 / 0 would end the training: a polygon can lie outside of every window of a batch."""
    logits, masks = case(3)
    logits.requires_grad_()
    masks = torch.full_like(masks, IGNORE)
    loss = Segmentation(average=average).loss(logits, masks)
    loss.sum().backward()

    assert [0.0] * 4 == loss.tolist()
    assert 0 == logits.grad.abs().max()
    assert [0.0] * 4 == Segmentation().weights(masks).tolist()


@pytest.mark.parametrize("average", AVERAGES)
def test_ignored_pixels_have_no_gradient(average):
    """What lies beside a bought polygon would be pushed somewhere."""
    masks = torch.full((1, 4, 4), IGNORE, dtype=torch.uint8)
    masks[0, 0, :2] = 1
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    Segmentation(average=average).loss(logits, masks).sum().backward()
    touched = logits.grad.abs().sum(1)[0] > 0

    assert [[0, 0], [0, 1]] == touched.nonzero().tolist()


def test_accuracy_is_that_of_the_places():
    """What the progress of a training is watched by."""
    logits, masks = case(4)
    truth = masks[:, [1, 3, 5]][:, :, [1, 3, 6, 8]]  # the middles of 3x4 places in 7x10
    right = (logits.argmax(1) == truth).sum() / (truth != IGNORE).sum()

    assert right == Segmentation().accuracy(logits, masks)
    nothing = torch.full_like(masks, IGNORE)
    assert 0 == Segmentation().accuracy(logits, nothing)


def judged(logits: Tensor, masks: Tensor, classes: int = 5) -> dict:
    evaluator = Segmentation().evaluator(classes)
    evaluator.update(logits, masks)
    return evaluator.compute(evaluator.state())


@pytest.mark.parametrize("seed", range(4))
def test_metrics_agree_with_scikit_learn(seed):
    """The headline of every curve would be another number than in the papers."""
    logits, masks = case(seed, images=6)
    labeled = masks != IGNORE
    maps = interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)
    truth, said = masks[labeled].numpy(), maps.argmax(1)[labeled].numpy()
    ious = jaccard_score(truth, said, labels=range(5), average=None)
    found = judged(logits, masks)

    assert ious == pytest.approx(found["per_class_iou"])
    assert np.mean(ious) == pytest.approx(found["miou"])
    assert (truth == said).mean() == pytest.approx(found["accuracy"])
    assert np.mean(sum(losses_of_pixels(logits, masks), [])) == pytest.approx(found["nll"])


def test_miou_by_hand():
    """2 of 3 pixels of class 0, 1 of 2 of class 1; class 2 is said once and never there; class 3
    is neither, and is left out; class 4 is there and never said."""
    truth = torch.tensor([[[0, 0, 1, 4, IGNORE]]], dtype=torch.uint8)
    said = torch.tensor([[[0, 0, 1, 2, 3]]])
    logits = 9.0 * torch.nn.functional.one_hot(said, 5).movedim(3, 1)
    found = judged(logits, truth)

    assert [1.0, 1.0, 0.0, None, 0.0] == found["per_class_iou"]
    assert (0.5, 0.75) == (found["miou"], found["accuracy"])
    swapped = judged(logits.roll(1, dims=3), truth)  # 3 0 0 1 2 in place of 0 0 1 2 3
    assert [1 / 3, 0.0, None, 0.0, 0.0] == swapped["per_class_iou"]
    assert (1 / 12, 0.25) == pytest.approx((swapped["miou"], swapped["accuracy"]))


def test_states_of_parts_add_up():
    """Workers that share the test images would give another result than one."""
    logits, masks = case(5, images=9)
    whole, parts = Segmentation().evaluator(5), []
    whole.update(logits, masks)
    for rows in torch.arange(9).split([4, 1, 4]):
        part = Segmentation().evaluator(5)
        part.update(logits[rows], masks[rows])
        parts.append(part.state())

    total = np.sum(parts, axis=0)
    assert np.array_equal(whole.state()[:-1], total[:-1])
    assert whole.state()[-1] == pytest.approx(total[-1], rel=1e-12)
    assert (masks != IGNORE).sum() == total[:-1].sum()
    part.state()[:] = 7
    assert np.array_equal(parts[-1], part.state())


def test_maps_are_judged_at_every_pixel():
    """On the grid thin things would not count."""
    logits, masks = case(6)
    maps = interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)

    assert judged(maps, masks)["per_class_iou"] == judged(logits, masks)["per_class_iou"]


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_diverged_network_is_no_number(number):
    """Its largest class would be 0 everywhere, and be right about the sky."""
    logits, masks = case(7)
    logits[2, 3, 1, 1] = number

    evaluator = Segmentation().evaluator(5)
    evaluator.update(logits, masks)
    with pytest.raises(DataError, match=r"training diverged; lower scheme\.lr"):
        evaluator.state()


def test_nothing_to_judge_by_is_an_error():
    """The mean of no class would be drawn into the curve."""
    with pytest.raises(DataError, match="no labeled pixel was evaluated"):
        judged(*(case(8)[0], torch.full((4, 7, 10), IGNORE, dtype=torch.uint8)))


def card(**fields) -> Card:
    """Of images of 4x6 whose masks hold 7 for class 0, 8 for class 1 and 0 for neither."""
    spec = ImageSpec(channels=3, height=4, width=6, mean=(0.5,) * 3, std=(0.25,) * 3)
    masks = MaskDecoding(values={7: 0, 8: 1, 0: IGNORE})
    return Card.model_construct(name="toy", image=spec, masks=masks, decoding=None, **fields)


def written(path, values: np.ndarray) -> str:
    Image.fromarray(values).save(path)
    return str(path)


def test_targets_are_masks_of_one_size(tmp_path):
    """Masks in both codings, in the order of the ids."""
    own = np.array([[0, 1, IGNORE] * 2] * 4, np.uint8)
    original = written(tmp_path / "a.png", np.array([[7, 8, 0] * 2] * 4, np.uint8))
    found = Segmentation().targets(
        {"b": encode(own[::-1]), "a": original, "c": encode(own)}, card()
    )

    assert ((3, 4, 6), torch.uint8) == (found.shape, found.dtype)
    for mask in found:
        np.testing.assert_array_equal(own, mask.numpy())


def test_targets_follow_the_images(tmp_path):
    """A resized image with the mask of the original would be shifted everywhere."""
    stored = np.kron(np.array([[7, 8], [0, 7]], np.uint8), np.ones((4, 6), np.uint8))
    original = written(tmp_path / "a.png", stored)
    resized = card().model_copy(update={"decoding": Decoding(shape=(4, 6))})
    (found,) = Segmentation().targets({"a": original}, resized)

    np.testing.assert_array_equal(np.where(stored == 0, IGNORE, stored - 7)[1::2, 1::2], found)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (1, "mask of 'a': 1 is a class, not a mask; mend"),
        (encode(np.zeros((4, 5), np.uint8)), r"mask of 'a': is \(4, 5\) instead of \(4, 6\)"),
        (encode(np.full((4, 6), 2, np.uint8)), "mask of 'a': value 2 is no class"),
        (b"no mask", "mask of 'a': not a mask in one of the formats"),
        ("/nowhere/a.png", "mask of 'a': .*nowhere"),
    ],
)
def test_wrong_labels_are_named(label, message):
    """An oracle's answer is checked when it is bought: a traceback in the training is too late."""
    with pytest.raises(DataError, match=message):
        Segmentation().targets({"a": label}, card())
    assert 1 == len(Segmentation().targets({"a": encode(np.zeros((4, 6), np.uint8))}, card()))


def test_classes_of_images_are_for_another_task():
    """The message must say which."""
    plain = card().model_copy(update={"masks": None})

    with pytest.raises(DataError, match="'toy' has no masks; use task: classification"):
        Segmentation().targets({"a": 1}, plain)
    assert [1] == Classification().targets(
        {"a": 1}, plain.model_copy(update={"classes": ("x", "y")})
    ).tolist()


def test_scores_of_pixels_become_one_per_image():
    """A user's own strategy may return a map: its mean over the image, without the filling."""
    values = torch.tensor([[[1.0, 2.0], [3.0, 10.0]]])
    valid = torch.tensor([[[True, True], [True, False]]])

    assert [2.0] == Segmentation().per_unit(values, valid).tolist()
    assert [4.0] == Segmentation().per_unit(values, None).tolist()
    assert [0.5] == Segmentation().per_unit(torch.tensor([0.5]), valid).tolist()
