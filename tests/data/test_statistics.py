"""Mean and standard deviation, image by image, against numpy on all of them."""

import numpy as np
import pytest

from rayal.data.statistics import Counts, Moments


def test_moments_by_hand() -> None:
    """Of 1, 3 and 5, 7: mean 4, variance (9 + 1 + 1 + 9) / 4."""
    moments = Moments(1)
    for pair in ([1, 3], [5, 7]):
        moments.add(np.array(pair, np.float32).reshape(1, 1, 1, 2))
    mean, std = moments.moments()

    assert ([4.0], [5**0.5]) == (mean.tolist(), std.tolist())


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_are_those_of_all_numbers(offset: float) -> None:
    """Sums of squares of numbers far from 0 lose all that their standard deviation is made of."""
    volumes = np.random.default_rng(0).normal(offset, [[[[3]]], [[[0.5]]]], (7, 2, 4, 5, 6))
    volumes = volumes.astype(np.float32)
    moments = Moments(2)
    for volume in volumes:
        moments.add(volume)
    mean, std = moments.moments()
    expected = volumes.astype(np.float64)

    np.testing.assert_allclose(mean, expected.mean(axis=(0, 2, 3, 4)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(std, expected.std(axis=(0, 2, 3, 4)), rtol=1e-9)


def test_counts_are_exact() -> None:
    """Mean and std of a store would depend on the order of its images."""
    images = np.random.default_rng(0).integers(0, 200, (5, 3, 6, 7), np.uint8)
    there, back = Counts(3), Counts(3)
    for image, other in zip(images, images[::-1], strict=True):
        there.add(image)
        back.add(other)
    mean, std = there.moments()

    np.testing.assert_array_equal(there.moments(), back.moments())
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)))
    assert images.max() == there.brightest and 255 == Counts(1).brightest
