"""One number per pixel becomes one per place, or per image: against torch, loops and by hand."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from rayal.data.pixels import on_grid, per_image, pooled, upsampled, valid_pixels
from rayal.signals.batch import entropy


@pytest.mark.parametrize(
    ("grid", "size"), [((3, 4), (24, 32)), ((3, 5), (17, 33)), ((1, 1), (5, 7)), ((4, 6), (7, 11))]
)
def test_logits_at_pixels_are_torchs_own(grid, size):
    """Half a place off, a network would be trained and judged against the pixel beside."""
    logits = torch.randn(2, 3, *grid, generator=torch.Generator().manual_seed(0))
    expected = interpolate(logits, size=size, mode="bilinear", align_corners=False)

    torch.testing.assert_close(upsampled(logits, torch.Size(size)), expected)


def test_bilinear_by_hand():
    """Centres of places lie at 1/4 and 3/4 of the image; outside of them the value is constant."""
    found = upsampled(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))

    assert [0.0, 1.0, 3.0, 4.0] == found.flatten().tolist()


def test_what_has_the_size_stays():
    """Logits of whole images, and those that are at pixels already."""
    of_images, of_pixels = torch.randn(2, 3), torch.randn(2, 3, 5, 7)

    assert upsampled(of_images, (5, 7)) is of_images
    assert upsampled(of_pixels, (5, 7)) is of_pixels
    masks = torch.randint(0, 255, (2, 5, 7), dtype=torch.uint8)
    assert on_grid(masks, (5, 7)) is masks


@pytest.mark.parametrize("size", [(8, 12), (7, 11), (5, 4), (1, 1)])
@pytest.mark.parametrize("grid", [(2, 3), (4, 4), (1, 1)])
def test_masks_on_the_grid_take_the_pixel_in_the_middle(size, grid):
    """The class of a place would be that of its corner: a shift by half the stride."""
    masks = torch.randint(0, 256, (2, *size), generator=torch.Generator().manual_seed(1))
    middles = [
        [math.floor((place + 0.5) * pixels / places) for place in range(places)]
        for pixels, places in zip(size, grid, strict=True)
    ]
    expected = [[[int(mask[y, x]) for x in middles[1]] for y in middles[0]] for mask in masks]
    found = on_grid(masks.to(torch.uint8), grid)

    assert torch.uint8 == found.dtype
    assert expected == found.tolist()


def test_truth_values_on_the_grid():
    """Which places are of the image, from which pixels are."""
    valid = valid_pixels(torch.tensor([[8, 12], [4, 5], [3, 12]]), 8, 12)
    found = on_grid(valid, (2, 3))  # the middles: rows 2 and 6, columns 2, 6 and 10

    assert torch.bool == found.dtype
    expected = [[[True] * 3] * 2, [[True, False, False], [False] * 3], [[True] * 3, [False] * 3]]
    assert expected == found.tolist()


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((3, 3), 1, 1), ((1, 1), 1, 1), ((3, 12), 1, 2), ((16, 3), 2, 1), ((3, 8), 1, 1)],
)
def test_a_tiny_image_has_a_place(size, rows, columns):
    """Its mean over places would be 0 / 0, and the run end as one whose training diverged."""
    sizes = torch.tensor([size, (16, 24), (5, 5)])
    found = on_grid(valid_pixels(sizes, 16, 24), (2, 3))

    expected = torch.zeros(2, 3, dtype=torch.bool)
    expected[:rows, :columns] = True
    assert expected.tolist() == found[0].tolist()
    assert found[1].all()
    assert [[True, False, False], [False] * 3] == found[2].tolist()  # as without the tiny one


def test_classes_are_never_widened():
    """Of labels the pixel in the middle counts, whatever the others are."""
    masks = torch.full((1, 16, 24), 0, dtype=torch.uint8)
    masks[0, :3, :3] = 1

    assert not on_grid(masks, (2, 3)).any()


def test_the_mean_of_a_map_by_hand():
    """Features of an image would hold its filling, or a corner be another one."""
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    valid = valid_pixels(torch.tensor([[4, 6]]), 6, 8)  # two pixels for each position

    assert 5.5 == pooled(maps, None)
    assert (0 + 1 + 2 + 4 + 5 + 6) / 6 == pooled(maps, valid)
    assert (0 + 1 + 4 + 5) / 4 == pooled(maps, None, corner=2) == pooled(maps, valid, corner=2)
    assert 5.5 == pooled(maps, None, corner=9)


def test_valid_pixels_are_those_at_the_top_left():
    """Filling would be scored as if it were of the image."""
    sizes = torch.tensor([[2, 3], [4, 1], [4, 5]], dtype=torch.int32)
    found = valid_pixels(sizes, 4, 5)

    assert (3, 4, 5) == found.shape
    for image, (height, width) in zip(found, sizes.tolist(), strict=True):
        assert height * width == image.sum() == image[:height, :width].sum()


HAND = torch.tensor([[[0.7, 0.61], [0.6, 0.1]]])


@pytest.mark.parametrize(("pixels", "expected"), [("above", 2.0), ("mean", 0.5025), ("max", 0.7)])
def test_by_hand(pixels, expected):
    """0.6 itself is not above 0.6 (methods, Sec. 21)."""
    assert [expected] == pytest.approx(per_image(HAND, None, pixels, 0.6).tolist())


@pytest.mark.parametrize("classes", [2, 11, 21])
def test_all_pixels_of_an_image_that_is_uniform_are_above(classes):
    """The largest count there is: H W (methods, Sec. 21)."""
    uniform = entropy(torch.zeros(1, classes, 6, 9).log_softmax(1))
    below = math.log(classes) - 1e-3

    assert [54.0] == per_image(uniform, None, "above", below).tolist()
    assert [0.0] == per_image(uniform, None, "above", below + 2e-3).tolist()


@pytest.mark.parametrize("pixels", ["mean", "max", "above"])
def test_only_valid_pixels_count(pixels):
    """An image on a canvas has the score that it has alone, to the last bit where nothing is
    averaged; whatever stands beside it."""
    values = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sizes = torch.tensor([[5, 7], [8, 9], [1, 1]])
    valid = valid_pixels(sizes, 8, 9)
    alone = [
        per_image(image[None, :height, :width], None, pixels, 0.5).item()
        for image, (height, width) in zip(values, sizes.tolist(), strict=True)
    ]
    for beside in (-torch.inf, torch.nan, 1e9):
        found = per_image(values.masked_fill(~valid, beside), valid, pixels, 0.5)
        if pixels == "mean":
            assert alone == pytest.approx(found.tolist(), rel=1e-14)
        else:
            assert alone == found.tolist()


@pytest.mark.parametrize("pixels", ["mean", "max", "above"])
def test_what_is_no_number_is_not_left_out(pixels):
    """A comparison with NaN is false: a diverged model would have images of 0 uncertain pixels."""
    values = torch.ones(4, 3, 5)
    values[0, 2, 4] = values[1, 2, 4] = values[2] = torch.nan
    valid = valid_pixels(torch.tensor([[3, 5], [3, 4], [1, 1], [3, 5]]), 3, 5)
    found = per_image(values, valid, pixels, 0.5)

    assert [True, False, True, False] == found.isnan().tolist()
    assert per_image(torch.ones(1, 3, 5), None, pixels, 0.5) == found[3]


def test_numbers_of_images_stay_as_they_are():
    """Classification goes through the same door."""
    values = torch.rand(5)

    assert per_image(values, None, "above", 0.5) is values
