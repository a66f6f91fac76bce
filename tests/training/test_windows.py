"""Random pieces of images and masks: they move together, from everywhere, whatever the batch."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from rayal.data.masks import IGNORE
from rayal.errors import UsageError
from rayal.training.augment import Augment
from rayal.training.windows import Window, cut_out, windows

COLOURS = torch.tensor([[250, 10, 40], [20, 240, 90], [60, 130, 200]], dtype=torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(images: int, height: int, width: int, block: int = 6) -> Tensor:
    """Masks of three classes in blocks of some pixels, N H W."""
    shape = images, -(-height // block), -(-width // block)
    small = torch.randint(0, 3, shape, generator=generator(1), dtype=torch.uint8)
    return small.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, :height, :width]


def painted(masks: Tensor) -> Tensor:
    """Images that show the classes in their colours, N 3 H W."""
    return COLOURS[masks.long()].movedim(3, 1)


def inner(masks: Tensor, reach: int = 2) -> Tensor:
    """Pixels around which, so far, there is one class and nothing is ignored."""
    values = masks[:, None].float()
    high = max_pool2d(values, 2 * reach + 1, 1, reach)
    low = -max_pool2d(-values, 2 * reach + 1, 1, reach)
    return ((high == low) & (high < IGNORE))[:, 0]


@pytest.mark.parametrize("size", [(20, 30), (41, 52), (60, 70), (20, 70)])
@pytest.mark.parametrize("scale", [None, (1.0, 1.0), (0.75, 1.5), (2.0, 2.0)])
@pytest.mark.parametrize("flip", [False, True])
def test_image_and_mask_move_together(size, scale, flip):
    """The network would learn the class of the pixel beside: nothing fails, it is only worse."""
    masks = blocks(8, 41, 52)
    augment = Augment(flip=flip, window=size, scale=scale)
    draws = augment.draw(8, generator())
    images, moved = augment(painted(masks), draws), augment.of_masks(masks, draws)

    assert ((8, 3, *size), (8, *size)) == (images.shape, moved.shape)
    assert (torch.uint8, torch.uint8) == (images.dtype, moved.dtype)
    same = inner(moved)
    assert 0.2 < same.float().mean() / (moved != IGNORE).float().mean()
    torch.testing.assert_close(images.movedim(1, 3)[same], COLOURS[moved[same].long()])


@pytest.mark.parametrize("size", [(41, 52), (50, 40), (41, 100), (60, 60)])
def test_ignored_is_what_is_filled(size):
    """Filling would be learned as a class, or true pixels be left out."""
    masks = blocks(20, 41, 52)
    images = painted(masks)
    augment = Augment(window=size)
    draws = augment.draw(20, generator())
    cut, moved = augment(images, draws), augment.of_masks(masks, draws)
    mean = images.sum((2, 3)) // (41 * 52)

    covered = (moved != IGNORE).sum((1, 2))
    assert (covered == min(size[0], 41) * min(size[1], 52)).all()
    for image, mask, colour in zip(cut, moved, mean, strict=True):
        filled = mask == IGNORE
        assert (image[:, filled] == colour[:, None]).all()
        torch.testing.assert_close(image[:, ~filled], COLOURS[mask[~filled].long()].T)


def test_a_window_of_the_images_size_changes_nothing():
    """Identity is the plainest test of the geometry."""
    masks = blocks(3, 17, 23)
    augment = Augment(window=(17, 23))
    draws = augment.draw(3, generator())

    assert torch.equal(painted(masks), augment(painted(masks), draws))
    assert torch.equal(masks, augment.of_masks(masks, draws))


def test_twice_as_large_by_hand():
    """A window of 4 shows 2 pixels of the image, each twice."""
    draws = torch.tensor([[0.0, 0.5, 0.99]])
    (place,) = windows((4, 4), (4, 4), (2.0, 2.0), draws)
    mask = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)

    assert Window(1, 2, 2, 2) == place
    expected = torch.tensor([[6, 6, 7, 7], [6, 6, 7, 7], [10, 10, 11, 11], [10, 10, 11, 11]])
    assert torch.equal(expected, cut_out(mask, [place], (4, 4), fill=IGNORE)[0, 0].long())


def test_half_as_large_by_hand():
    """A window of 2 shows 4 pixels of the image a side; of the mask one in four, of the image the
    weighted mean of what is around."""
    image = torch.tensor([[0, 0, 200, 200], [0, 0, 200, 200]], dtype=torch.uint8).repeat(2, 1)
    (place,) = windows((4, 4), (2, 2), (0.5, 0.5), torch.zeros(1, 3))
    small = cut_out(image[None, None], [place], (2, 2))[0, 0]

    assert Window(0, 0, 4, 4) == place
    assert [[0, 200], [0, 200]] == cut_out(image[None, None], [place], (2, 2), 255)[0, 0].tolist()
    mask = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)  # the middle of 2x2 is at 1, 3
    assert [[5, 7], [13, 15]] == cut_out(mask, [place], (2, 2), fill=IGNORE)[0, 0].tolist()
    assert small[0, 0] < 60 and small[0, 1] > 140 and small[0].sum() == 200


@pytest.mark.parametrize(
    ("image", "size", "places"),
    [((10, 7), (4, 7), (7, 1)), ((5, 8), (9, 3), (5, 6)), ((6, 6), (6, 12), (1, 7))],
)
def test_every_place_is_as_likely(image, size, places):
    """The border of images would be seen less often than the middle, or never."""
    draws = torch.rand(4000, 3, generator=generator(), dtype=torch.float64)
    found = windows(image, size, None, draws)

    for side, number in enumerate(places):
        starts = np.array([place[side] for place in found])
        expected = np.arange(number) * np.sign(image[side] - size[side] or 1)
        values, counts = np.unique(starts, return_counts=True)
        assert sorted(expected) == values.tolist()
        assert number == 1 or scipy.stats.chisquare(counts).pvalue > 0.001


def test_scales_are_even():
    """Large scales would be rare if their inverse were drawn."""
    draws = torch.rand(4000, 3, generator=generator(), dtype=torch.float64)
    found = windows((500, 500), (300, 300), (0.5, 2.0), draws)
    scales = [300 / place.height for place in found]

    assert {(place.height, place.width) for place in found} == {(p.height,) * 2 for p in found}
    assert 0.5 <= min(scales) < 0.51 and 1.98 < max(scales) <= 2.0
    assert scipy.stats.kstest(scales, scipy.stats.uniform(0.5, 1.5).cdf).pvalue > 0.001


def test_the_last_number_below_one_stays_inside():
    """One image in sixteen million would end a training."""
    last = torch.full((1, 3), 1 - 2.0**-24)

    assert [Window(6, 3, 4, 4)] == windows((10, 7), (4, 4), None, last)
    assert [Window(-6, -9, 12, 12)] == windows((6, 3), (12, 12), None, last)


def test_a_batch_divided_otherwise_gives_the_same_pieces():
    """Another number of workers would train on other images."""
    masks = blocks(9, 30, 40)
    augment = Augment(flip=True, window=(20, 28), scale=(0.6, 1.7))
    images, draws = painted(masks), augment.draw(9, generator())
    whole = augment(images, draws), augment.of_masks(masks, draws)
    order = torch.tensor([8, 3, 0, 1, 2, 7, 6, 5, 4])

    for part in order.split(4):
        assert torch.equal(whole[0][part], augment(images[part], draws[part]))
        assert torch.equal(whole[1][part], augment.of_masks(masks[part], draws[part]))


def test_flips_alone_move_masks_too():
    """Half of all masks would be the mirror image of what is seen."""
    masks = blocks(40, 12, 18)
    augment = Augment(flip=True)
    draws = augment.draw(40, generator())
    moved = augment.of_masks(masks, draws)
    flipped = (moved != masks).flatten(1).any(1)

    assert torch.equal(painted(moved), augment(painted(masks), draws))
    assert 8 < flipped.sum() < 32
    assert torch.equal(moved[flipped], masks[flipped].flip(2))


def test_cutout_leaves_the_mask_alone():
    """What is hidden still has its class; the other draws are those of without."""
    masks = blocks(4, 12, 18)
    plain, holes = Augment(flip=True), Augment(flip=True, cutout=6)
    draws = holes.draw(4, generator())

    assert torch.equal(plain.of_masks(masks, draws), holes.of_masks(masks, draws))


@pytest.mark.parametrize("changed", [{"crop": 2}, {"policy": "randaugment"}])
def test_what_cannot_move_masks_is_refused(changed):
    """Image and mask would part in silence."""
    augment = Augment(**changed)
    with pytest.raises(UsageError, match=r"cannot move masks; use scheme\.augment\.window"):
        augment.of_masks(blocks(2, 12, 12), augment.draw(2, generator()))
    windowed = Augment(window=(8, 8))
    assert (2, 8, 8) == windowed.of_masks(blocks(2, 12, 12), windowed.draw(2, generator())).shape


def test_windows_change_no_other_draw():
    """Two runs that differ in the window alone would differ in all else, and classification with
    it."""
    old, new = (
        Augment(flip=True, policy="randaugment"),
        Augment(policy="randaugment", window=(8, 8)),
    )
    draws = old.draw(5, generator())

    assert torch.equal(draws, new.draw(5, generator())[:, : draws.shape[1]])


def test_channels_are_cut_alike():
    """Colours would shift against each other."""
    grey = torch.randint(0, 256, (2, 1, 20, 20), generator=generator(), dtype=torch.uint8)
    places = [Window(-3, 4, 12, 14), Window(10, -5, 20, 9)]
    cut = cut_out(grey.repeat(1, 3, 1, 1), places, (9, 9))

    assert torch.equal(cut[:, 0], cut[:, 1]) and torch.equal(cut[:, 0], cut[:, 2])
    assert torch.equal(cut[:, :1], cut_out(grey, places, (9, 9)))
