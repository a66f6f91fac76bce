"""Mirrorings and turns by right angles, against the groups that they are."""

from collections import Counter
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayal.data.card import ImageSpec
from rayal.training.augment import Augment, normalise
from rayal.training.turns import ORDER, TURN_DRAWS, turned

WAYS = {
    (2, True, False): 4,
    (2, False, True): 4,
    (2, True, True): 8,
    (3, True, False): 8,
    (3, False, True): 24,
    (3, True, True): 48,
}
"""Sides, mirror, rotate -> in how many ways an image can lie."""


def marked(n: int, sides: int, size: int = 2) -> Tensor:
    """The same image n times, no two of its numbers alike: N 1 *."""
    one = torch.arange(size**sides, dtype=torch.uint8).view(1, 1, *[size] * sides)
    return one.repeat(n, *[1] * (sides + 1))


def ways(image: np.ndarray, sign: tuple[int, ...]) -> set[bytes]:
    """All that orders of axes and mirrorings with these signs make of an image, one by one."""
    found = set()
    for order in permutations(range(image.ndim)):
        odd = sum(order[i] > order[j] for j in range(image.ndim) for i in range(j)) % 2
        for flips in product([0, 1], repeat=image.ndim):
            if (odd + sum(flips)) % 2 in sign:
                axes = tuple(axis for axis, flipped in enumerate(flips) if flipped)
                found.add(np.flip(image.transpose(order), axes).tobytes())
    return found


@pytest.mark.parametrize(("sides", "mirror", "rotate"), WAYS)
def test_every_way_is_as_likely(sides: int, mirror: bool, rotate: bool) -> None:
    """A way that is left out, or comes twice as often, is another augmentation."""
    count = WAYS[sides, mirror, rotate]
    draws = torch.rand(200 * count, TURN_DRAWS, generator=torch.Generator().manual_seed(0))
    images = turned(marked(len(draws), sides), draws, mirror=mirror, rotate=rotate)
    found = Counter(image.numpy().tobytes() for image in images)

    assert count == len(found)
    # 200 of each: further than 5 standard deviations from it comes once in a million
    assert all(200 - 5 * 14.2 < times < 200 + 5 * 14.2 for times in found.values())


@pytest.mark.parametrize("sides", [2, 3])
def test_turns_are_proper(sides: int) -> None:
    """A mirrored particle is another molecule: turns alone must make none."""
    image = marked(1, sides)[0, 0].numpy()
    draws = torch.rand(3000, TURN_DRAWS, generator=torch.Generator().manual_seed(1))
    images = marked(len(draws), sides)
    rotated = {each.numpy().tobytes() for each in turned(images, draws, mirror=False, rotate=True)}
    all_of_them = {
        each.numpy().tobytes() for each in turned(images, draws, mirror=True, rotate=True)
    }

    assert ways(image, (0,)) == rotated
    assert ways(image, (0, 1)) == all_of_them


def test_a_quarter_turn_by_hand() -> None:
    """Rows become columns, and one of them the first: np.rot90, once or thrice."""
    image = torch.tensor([[[[1, 2], [3, 4]]]])
    draws = torch.tensor([[0.9, 0.0, 0.9, 0.0, 0.0]])  # exchange both axes, do not mirror the rows
    (there,) = turned(image, draws, mirror=False, rotate=True)[0]

    assert [[3, 1], [4, 2]] == there.tolist() == np.rot90([[1, 2], [3, 4]], -1).tolist()


def test_each_image_has_its_own_draws() -> None:
    """What happens to an image would depend on its batch."""
    augment = Augment(mirror=True, rotate=True, flip=True)
    draws = augment.draw(12, torch.Generator().manual_seed(0))
    images = torch.randn(12, 1, 5, 5, 5, generator=torch.Generator().manual_seed(1))
    together = augment(images, draws)
    alone = torch.cat([augment(images[i : i + 1], draws[i : i + 1]) for i in range(12)])

    assert torch.equal(together, alone)
    assert torch.equal(images.flatten(1).sort().values, together.flatten(1).sort().values)
    assert not torch.equal(images, together)


def test_masks_move_with_their_images() -> None:
    """A training would learn the labels of other pixels."""
    augment = Augment(mirror=True, rotate=True, window=(4, 4))
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(9, 1, 1, 1)
    draws = augment.draw(9, torch.Generator().manual_seed(0))

    assert torch.equal(augment(images, draws)[:, 0], augment.of_masks(images[:, 0], draws))


def test_turning_one_on_leaves_the_others() -> None:
    """Comparing with and without would compare other windows, too."""
    with_turns, without = Augment(window=(4, 4), rotate=True), Augment(window=(4, 4))
    draws, fewer = (x.draw(3, torch.Generator().manual_seed(0)) for x in (with_turns, without))

    assert torch.equal(fewer, draws[:, : fewer.shape[1]])
    assert fewer.shape[1] + TURN_DRAWS == draws.shape[1] and ORDER < TURN_DRAWS


def test_what_was_identified_before_still_is() -> None:
    """Runs that were begun before these fields were there could not go on."""
    assert {"mirror", "rotate"}.isdisjoint(Augment(flip=True).model_dump())
    assert Augment(rotate=True) == Augment.model_validate(Augment(rotate=True).model_dump())


def spec(*shape: int) -> ImageSpec:
    mean, std = (1.0,) * shape[0], (2.0,) * shape[0]
    return ImageSpec.of(shape, mean, std, "uint8" if len(shape) == 3 else "float32")


@pytest.mark.parametrize(
    ("options", "image", "told"),
    [
        ({"crop": 2, "cutout": 4}, spec(1, 8, 8, 8), "crop, cutout cannot change volumes"),
        ({"window": (4, 4)}, spec(1, 8, 8, 8), "window cannot change volumes .1, 8, 8, 8. .C, D"),
        ({"rotate": True}, spec(1, 8, 8, 4), "needs equal sides, these are .8, 8, 4."),
        ({"rotate": True, "window": (4, 6)}, spec(3, 8, 8), "needs equal sides, these are .4, 6."),
    ],
)
def test_what_does_not_fit_is_told(options: dict[str, Any], image: ImageSpec, told: str) -> None:
    """The first batch would end in torch's error about axes. What the message names does fit."""
    (problem,) = Augment(**options).misfits(image)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(problem)

    assert [] == [*Augment(flip=True, mirror=True).misfits(image)]
    assert [] == [*Augment(rotate=True).misfits(spec(1, 8, 8, 8))]


def test_numbers_are_normalised_as_they_are() -> None:
    """Of volumes nothing is divided by 255; and what is stored must stay as it is."""
    volumes = torch.tensor([1.0, 3.0, 5.0, -1.0]).view(1, 1, 1, 2, 2)
    seen = normalise(volumes, spec(1, 1, 2, 2))

    assert [0.0, 1.0, 2.0, -1.0] == seen.flatten().tolist()
    assert [1.0, 3.0, 5.0, -1.0] == volumes.flatten().tolist()
