"""Augmentation by hand, whatever the batch, and against a loop over torchvision's operations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import autoaugment as reference
from torchvision.transforms.v2 import functional as F

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.training.augment import Augment, normalise
from rayal.training.policy import OPERATIONS, PLACED, SIGNED, UDA_LEVELS, uda

FLIP, TOP, LEFT, CUT_ROW, CUT_COLUMN = range(5)
ALMOST_ONE = 1 - 2**-24
"""The largest number that torch.rand can draw."""

EVERYTHING = [
    Augment(flip=True, crop=4, cutout=8),
    Augment(policy="autoaugment"),
    Augment(policy="autoaugment", learned_on="imagenet"),
    Augment(policy="autoaugment", learned_on="svhn", flip=True, crop=2, cutout=5),
    Augment(policy="randaugment", operations=3, magnitude=20),
    Augment(policy="uda", flip=True, crop=4, padding="reflect", cutout=16),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator(seed))


def row(**columns: float) -> Tensor:
    """The draws of one image: 0.75 but where said otherwise."""
    draws = torch.full((1, 5), 0.75)
    for name, value in columns.items():
        draws[0, "flip top left cut_row cut_column".split().index(name)] = value
    return draws


THREE_BY_THREE = torch.tensor([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("draw", "expected"), [(0.49, [[3, 2, 1], [6, 5, 4], [9, 8, 7]]), (0.5, THREE_BY_THREE[0, 0])]
)
def test_flip_by_hand(draw: float, expected: list[list[int]]) -> None:
    """Images would be mirrored never, always or upside down."""
    flipped = Augment(flip=True)(THREE_BY_THREE, row(flip=draw))

    assert torch.as_tensor(expected).tolist() == flipped[0, 0].tolist()


@pytest.mark.parametrize(
    ("top", "left", "expected"),
    [
        (0.0, 0.0, [[0, 0, 0], [0, 1, 2], [0, 4, 5]]),
        (0.5, 0.5, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (ALMOST_ONE, 0.5, [[4, 5, 6], [7, 8, 9], [0, 0, 0]]),
        (0.0, ALMOST_ONE, [[0, 0, 0], [2, 3, 0], [5, 6, 0]]),
    ],
)
def test_crop_by_hand(top: float, left: float, expected: list[list[int]]) -> None:
    """Images would be shifted the wrong way, or never to the far side."""
    cropped = Augment(crop=1)(THREE_BY_THREE, row(top=top, left=left))

    assert expected == cropped[0, 0].tolist()


@pytest.mark.parametrize(
    ("crop", "top", "left", "expected"),
    [
        (1, 0.0, 0.0, [[5, 4, 5], [2, 1, 2], [5, 4, 5]]),
        (1, ALMOST_ONE, 0.5, [[4, 5, 6], [7, 8, 9], [4, 5, 6]]),
        (3, 0.0, 0.5, [[4, 5, 6], [7, 8, 9], [4, 5, 6]]),  # wider than the image: 2 1 0 1 2 1 0
    ],
)
def test_reflection_by_hand(crop: int, top: float, left: float, expected: list[list[int]]) -> None:
    """The outermost pixels would be seen twice, or a narrow image end the training."""
    cropped = Augment(crop=crop, padding="reflect")(THREE_BY_THREE, row(top=top, left=left))

    assert expected == cropped[0, 0].tolist()


@pytest.mark.parametrize(
    ("side", "center", "expected"),
    [
        (1, (0.4, 0.4), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),  # the centre has the mean colour
        (2, (0.4, 0.9), [[1, 5, 5], [4, 5, 5], [7, 8, 9]]),
        (3, (0.0, ALMOST_ONE), [[1, 5, 5], [4, 5, 5], [7, 8, 9]]),  # sticks out
        (9, (0.4, 0.4), [[5, 5, 5], [5, 5, 5], [5, 5, 5]]),
    ],
)
def test_cutout_by_hand(side: int, center: tuple[float, float], expected: list[list[int]]) -> None:
    """The hole would have another size, place or colour."""
    cut = Augment(cutout=side)(THREE_BY_THREE, row(cut_row=center[0], cut_column=center[1]))

    assert expected == cut[0, 0].tolist()


def test_crop_comes_before_flip() -> None:
    """Runs that were recorded could not be repeated."""
    both = Augment(crop=1, flip=True)(THREE_BY_THREE, row(top=0.0, left=0.0, flip=0.0))

    assert [[0, 0, 0], [2, 1, 0], [5, 4, 0]] == both[0, 0].tolist()


def test_nothing_asked_changes_nothing() -> None:
    """A scheme without augmentation would train on other images than those labeled."""
    images = pixels(4, 3, 8, 8)

    assert images is Augment()(images, Augment().draw(4, generator()))


@pytest.mark.parametrize("augment", EVERYTHING)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 17, 23)])
def test_an_image_depends_on_its_own_draws_alone(
    augment: Augment, shape: tuple[int, int, int]
) -> None:
    """Batch size and number of workers would change what is trained on."""
    images = pixels(64, *shape)
    before, draws = images.clone(), augment.draw(64, generator())
    together = augment(images, draws)
    alone = torch.cat([augment(images[i : i + 1], draws[i : i + 1]) for i in range(64)])

    assert torch.equal(together, alone)
    assert torch.equal(before, images)  # a labeled set that stays in memory must stay as it is
    assert (torch.uint8, images.shape) == (together.dtype, together.shape)


@pytest.mark.parametrize("augment", EVERYTHING)
def test_draws_come_from_the_generator_alone(augment: Augment) -> None:
    """A run that was resumed would not draw the same numbers again."""
    state = torch.get_rng_state()
    first, second = (augment.draw(10, generator(3)) for _ in range(2))

    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert ("cpu", len(first)) == (first.device.type, 10)
    assert bool(((first >= 0) & (first < 1)).all())


@pytest.mark.parametrize(
    "augment", [*EVERYTHING, Augment(window=(4, 4), rotate=True), Augment(mirror=True), Augment()]
)
def test_as_many_numbers_as_are_drawn(augment: Augment) -> None:
    """Who draws them for each unit would give an operation the numbers of another."""
    assert augment.draw(2, generator()).shape[1] == augment.numbers


def test_options_do_not_change_what_others_draw() -> None:
    """Adding a flip would also crop elsewhere, and two runs would differ in more than one thing."""
    draws = Augment(crop=4).draw(10, generator())
    more = Augment(crop=4, flip=True, cutout=3, policy="randaugment").draw(10, generator())

    assert torch.equal(draws, more[:, :5])


def test_each_place_of_a_crop_is_equally_likely() -> None:
    """Crops would prefer some corner."""
    images = torch.zeros(20_000, 1, 5, 5, dtype=torch.uint8)
    images[:, 0, 2, 2] = 1
    augment = Augment(crop=2, flip=True)
    seen = augment(images, augment.draw(len(images), generator())).double().mean(dim=0)

    assert torch.allclose(torch.full((1, 5, 5), 1 / 25).double(), seen, atol=0.005)


def naive_crop_and_flip(image: Tensor, draws: list[float], padding: int, mode: str) -> Tensor:
    """What torchvision does to one image."""
    padded = F.pad(image, [padding] * 4, padding_mode=mode)
    top, left = (int(draws[column] * (2 * padding + 1)) for column in (TOP, LEFT))
    cropped: Tensor = F.crop(padded, top, left, *image.shape[1:])
    return cropped.flip(2) if draws[FLIP] < 0.5 else cropped


@pytest.mark.parametrize(("padding", "mode"), [("black", "constant"), ("reflect", "reflect")])
def test_crop_and_flip_agree_with_torchvision(padding: Any, mode: str) -> None:
    """The fast way would show other images than the plain one."""
    images, augment = pixels(50, 3, 12, 15), Augment(flip=True, crop=3, padding=padding)
    draws = augment.draw(50, generator())
    expected = [naive_crop_and_flip(images[i], draws[i].tolist(), 3, mode) for i in range(50)]

    assert torch.equal(torch.stack(expected), augment(images, draws))


MOVED = {"ShearX", "ShearY", "Rotate"}
COLOURS = {"Brightness", "Color", "Contrast", "Sharpness", "AutoContrast"}
"""Operations that round; torchvision's own two versions of them differ by one grey level."""
MOVES = {"ShearX", "ShearY", "Rotate"}
"""Operations that take pixels from between others: one that is halfway goes to either, as the
processor rounds."""


@pytest.mark.parametrize("name", sorted({*OPERATIONS} - {"Identity"}))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bins", [10, 31])
def test_operations_agree_with_torchvision(name: str, channels: int, bins: int) -> None:
    """Semi-supervised results would come from other operations than the published ones."""
    images = pixels(5, channels, 16, 20)
    magnitudes, signed = reference.AutoAugment()._augmentation_space(bins, (16, 20))[name]
    for level in range(bins):
        magnitude = float(magnitudes[level]) if magnitudes.ndim else 0.0
        for sign in (1, -1) if signed else (1,):
            expected = torch.stack(
                [
                    reference._apply_op(
                        x, name, sign * magnitude, F.InterpolationMode.NEAREST, None
                    )
                    for x in images
                ]
            )
            actual = OPERATIONS[name](images, sign * level / (bins - 1))
            difference = (expected.int() - actual.int()).abs()

            differing = (difference > 0).any(dim=1).sum(dim=(1, 2)).max()

            assert difference.max() <= 1 if name in COLOURS else differing <= (name in MOVES)


def naive_step(image: Tensor, name: str, level: float, sign: float) -> Tensor:
    signed = reference.AutoAugment()._augmentation_space(10, (8, 8)).get(name, (None, False))[1]
    return OPERATIONS[name](image[None], -level if signed and sign < 0.5 else level)[0]


@pytest.mark.parametrize("learned_on", ["cifar10", "imagenet", "svhn"])
def test_autoaugment_agrees_with_a_plain_loop(learned_on: str) -> None:
    """Images would get other operations than the policy says, or those of their neighbours."""
    augment = Augment.model_validate({"policy": "autoaugment", "learned_on": learned_on})
    policies = reference.AutoAugment(reference.AutoAugmentPolicy(learned_on)).policies
    images, draws = pixels(300, 3, 8, 8), augment.draw(300, generator())
    expected = []
    for image, numbers in zip(images, draws[:, 5:].tolist(), strict=True):
        pair = policies[int(numbers[0] * 25)]
        for half, (_, applied, sign) in zip(pair, (numbers[:3], numbers[3:]), strict=True):
            name, probability, level = half
            if applied < probability:
                image = naive_step(image, name, (level or 0) / 9, sign)
        expected.append(image)

    assert torch.equal(torch.stack(expected), augment(images, draws))


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_randaugment_agrees_with_a_plain_loop(magnitude: int) -> None:
    """Images would get other operations than drawn, or fewer than asked for."""
    augment = Augment(policy="randaugment", magnitude=magnitude, operations=3)
    names = list(reference.RandAugment()._augmentation_space(31, (8, 8)))
    images, draws = pixels(300, 3, 8, 8), augment.draw(300, generator())
    expected = []
    for image, numbers in zip(images, draws[:, 5:].tolist(), strict=True):
        for pick, _, sign in (numbers[:3], numbers[3:6], numbers[6:]):
            image = naive_step(image, names[int(pick * 14)], magnitude / 30, sign)
        expected.append(image)

    assert torch.equal(torch.stack(expected), augment(images, draws))


def of_uda(name: str, strength: int, sign: int) -> Callable[[Any], Any]:
    """What the official code does to an image of PIL, told anew by PIL's own functions; there a
    positive shift is one to the left or up."""
    amount = strength / 10
    affine = {
        "ShearX": (1, sign * 0.3 * amount, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, sign * 0.3 * amount, 1, 0),
        "TranslateX": (1, 0, -sign * strength, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -sign * strength),
    }
    if name in affine:
        return lambda image: image.transform((32, 32), Image.Transform.AFFINE, affine[name])
    if name in ("Sharpness", "Contrast", "Color", "Brightness"):
        enhancer = getattr(ImageEnhance, name)
        return lambda image: enhancer(image).enhance(1 + sign * abs(1.8 * amount + 0.1 - 1))
    return {
        "Invert": ImageOps.invert,
        "AutoContrast": ImageOps.autocontrast,
        "Equalize": ImageOps.equalize,
        "Posterize": lambda image: ImageOps.posterize(image, 4 - int(4 * amount)),
        "Solarize": lambda image: ImageOps.solarize(image, 256 - int(256 * amount)),
        "Rotate": lambda image: image.rotate(sign * int(30 * amount)),
    }[name]


@pytest.mark.parametrize("name", sorted({*UDA_LEVELS} - {"Cutout"}))
def test_operations_of_uda_are_its_codes(name: str) -> None:
    """UDA's results would come from other strengths than the published ones. A sheared or turned
    image may take the neighbour of a pixel, where both are as near; colours are rounded."""
    images = pixels(4, 3, 32, 32)
    pil = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in images]
    for strength, level in enumerate((c.level for c in uda() if c.operation == name), start=1):
        for sign in (1, -1) if name in SIGNED else (1,):
            actual = OPERATIONS[name](images, sign * level).permute(0, 2, 3, 1).numpy()
            changed = map(of_uda(name, strength, sign), pil)
            expected = np.stack([np.asarray(each) for each in changed])
            apart = np.abs(expected.astype(int) - actual.astype(int)).max(axis=3)

            assert (apart > (1 if name in COLOURS else 0)).mean() <= (0.1 if name in MOVED else 0)


def test_uda_has_15_operations_at_9_strengths() -> None:
    """By hand: enhancements by 0.28 to 1.72 are 1 +- 0 to 0.72, each twice but for the middle; of a
    posterized colour 4 bits to 1 are left; holes are 2 to 18 px wide, less an odd one."""
    choices = uda()
    enhanced = [round(0.9 * level, 2) for name, level, _ in choices if name == "Color"]
    bits = [8 - round(4 * level) for name, level, _ in choices if name == "Posterize"]
    white = torch.full((1, 1, 32, 32), 200, dtype=torch.uint8)
    white[0, 0, 16, 16] = 0
    middle = torch.tensor([(16 * 32 + 16.5) / 1024])
    holes = [
        (PLACED["Cutout"](white, level, middle) == 199).sum().item() ** 0.5
        for name, level, _ in choices
        if name == "Cutout"
    ]

    assert 135 == len(choices) and {0.5} == {choice.probability for choice in choices}
    assert 18_225 == len(choices) ** 2
    assert [0.72, 0.54, 0.36, 0.18, 0, 0.18, 0.36, 0.54, 0.72] == enhanced
    assert [4, 4, 3, 3, 2, 2, 2, 1, 1] == bits
    assert [2, 4, 6, 8, 10, 12, 14, 16, 18] == holes


def test_uda_agrees_with_a_plain_loop() -> None:
    """Images would get the other half's operation, or one with the chance of another."""
    augment, choices = Augment(policy="uda"), uda()
    images, draws = pixels(400, 3, 8, 8), augment.draw(400, generator())
    expected = []
    for image, numbers in zip(images, draws[:, 5:].tolist(), strict=True):
        for pick, applied, sign in (numbers[:3], numbers[3:]):
            name, level, _ = choices[int(pick * 135)]
            if applied < 0.5 and name in PLACED:
                image = PLACED[name](image[None], level, torch.tensor([sign]))[0]
            elif applied < 0.5:
                image = naive_step(image, name, level, sign)
        expected.append(image)

    assert torch.equal(torch.stack(expected), augment(images, draws))


def test_signed_operations_are_torchvisions() -> None:
    """Images would be darkened only, say, and never lightened."""
    space = reference.AutoAugment()._augmentation_space(10, (32, 32))

    assert {name for name, (_, signed) in space.items() if signed} == SIGNED
    assert {*space, "Identity"} == OPERATIONS.keys()


def test_saturation_leaves_grey_images_alone() -> None:
    """Grey images could not be augmented at all, or would lose their contrast."""
    images = pixels(2, 1, 8, 8)

    assert torch.equal(images, OPERATIONS["Color"](images, -1.0))


def test_policies_refuse_other_channels() -> None:
    """The run would end in torchvision's error, which names no setting."""
    augment = Augment(policy="randaugment")

    with pytest.raises(UsageError, match="augment.policy 'randaugment' needs .* these have 4"):
        augment(pixels(1, 4, 8, 8), augment.draw(1, generator()))
    plain = augment.model_copy(update={"policy": None})  # set it to null
    assert (1, 4, 8, 8) == plain(pixels(1, 4, 8, 8), plain.draw(1, generator())).shape


@pytest.mark.parametrize(
    ("fields", "message", "step"),
    [
        ({"scale": [1, 2]}, "scale needs a window, .*; give both", {"window": [4, 4]}),
        ({"scale": [2, 1], "window": [4, 4]}, "first; exchange them", {"scale": [1, 2]}),
    ],
)
def test_a_scale_that_cannot_be(fields: Any, message: str, step: Any) -> None:
    """Windows would be cut at no size, or at none between the two."""
    with pytest.raises(ValidationError, match=message):
        Augment.model_validate(fields)
    Augment.model_validate(fields | step)


@pytest.mark.parametrize("fields", [{"crop": -1}, {"magnitude": 31}, {"policy": "auto"}])
def test_impossible_options_are_refused(fields: dict[str, object]) -> None:
    """The mistake would be found only when training starts, or never."""
    with pytest.raises(ValidationError):
        Augment.model_validate(fields)


def test_normalise_by_hand() -> None:
    """Networks would see pixels on another scale than their statistics."""
    spec = ImageSpec(channels=2, height=1, width=2, mean=(0.5, 0.0), std=(0.5, 2.0))
    images = torch.tensor([[[[0, 255]], [[255, 0]]]], dtype=torch.uint8)

    assert [[[[-1.0, 1.0]], [[0.5, 0.0]]]] == normalise(images, spec).tolist()


def test_normalise_agrees_with_torchvision() -> None:
    """Pretrained networks would see other inputs than they were trained on."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = ImageSpec(channels=3, height=9, width=7, mean=mean, std=std)
    images = pixels(4, 3, 9, 7).contiguous(memory_format=torch.channels_last)
    ours = normalise(images, spec)

    assert torch.allclose(F.normalize(images / 255, list(mean), list(std)), ours, atol=1e-6)
    assert (torch.float32, True) == (ours.dtype, ours.is_contiguous())
