"""Made-up subtomograms: the missing wedge, the noise, and that they are always the same."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rayal.data.datasets._particles import SHAPES, density, measured, seen, turn
from rayal.data.datasets.simulated_subtomograms import SimulatedSubtomograms

WHOLE = {"tilt": 90.0, "size": 24, "shift": 0.0}
STILL = np.eye(3), np.zeros(3)


def test_the_noise_is_as_loud_as_said() -> None:
    """Results at an SNR would be those at another; and noise of another variance for each shape
    would tell the classes apart."""
    for label in range(len(SHAPES)):
        clean = SimulatedSubtomograms(snr=None, **WHOLE).volume("train-00000", label)
        noisy = SimulatedSubtomograms(snr=0.05, **WHOLE).volume("train-00000", label)
        ratio = clean.var() / (noisy - clean).var()

        assert 1 == pytest.approx(clean.var(), rel=1e-4)
        assert 0.05 == pytest.approx(ratio, rel=0.05)


def test_nothing_is_seen_beyond_the_tilts() -> None:
    """Without the wedge missing, particles would be told apart from above that no tomogram shows.
    Of the two axes beside the one that is tilted about, angles from -60 to 60 degrees are seen."""
    found = np.fft.fftn(SimulatedSubtomograms(size=16, snr=0.5).volume("train-00003", 3)[0])
    z, _, x = np.meshgrid(*[np.fft.fftfreq(16)] * 3, indexing="ij")
    angle = np.degrees(np.arctan2(np.abs(z), np.abs(x)))  # of 0, 0 it is 0
    power = np.abs(found) ** 2

    assert power[angle > 60.001].max() < 1e-8 * power.max()
    assert (power[angle < 59.999] > 1e-6 * power.max()).mean() > 0.99
    assert (angle <= 60.001).mean() == pytest.approx(seen(16, 60).mean())


def test_measuring_twice_is_measuring_once() -> None:
    """What is left is a projection: real, and with everything where nothing is missing."""
    volume = np.random.default_rng(0).normal(size=(8, 8, 8))
    once = measured(volume, 60)

    np.testing.assert_allclose(measured(once, 60), once, atol=1e-12)
    np.testing.assert_allclose(measured(volume, 90), volume, atol=1e-12)
    assert np.var(once) < np.var(volume)


@pytest.mark.parametrize(
    ("shape", "expected"),
    # of boxes with sides 2: balls 4/3 pi r^3, a torus 2 pi^2 R r^2, a cone pi r^2 h / 3
    [
        ("ball", 4 / 3 * np.pi * 0.5**3),
        ("shell", 4 / 3 * np.pi * (0.6**3 - 0.4**3)),
        ("rod", np.pi * 0.17**2 * 1.0 + 4 / 3 * np.pi * 0.17**3),
        ("torus", 2 * np.pi**2 * 0.45 * 0.15**2),
        ("two_lobes", 2 * 4 / 3 * np.pi * 0.28**3),
        ("three_lobes", 3 * 4 / 3 * np.pi * 0.23**3),
        ("cube", 0.76**3),
        ("plate", 1.0 * 1.0 * 0.24),
        ("cone", np.pi * 0.5**2 * 1.0 / 3),
    ],
)
def test_shapes_have_their_volumes(shape: str, expected: float) -> None:
    """A shape would be another one, or be cut off at the walls of its box."""
    size = 64
    for rotation, shift in (STILL, (turn(np.random.default_rng(1)), np.array([3.0, -2.0, 1.0]))):
        filled = density(shape, size, rotation, shift).sum() * (2 / size) ** 3

        assert expected == pytest.approx(filled, rel=0.03)


def test_a_shift_moves_the_middle() -> None:
    """Particles would be off the middle along another axis, or the other way."""
    filled = density("ball", 32, np.eye(3), np.array([2.0, -1.0, 0.5]))
    line = np.arange(32) - 15.5
    z, y, x = (
        (filled.sum(axis=tuple({0, 1, 2} - {axis})) * line).sum() / filled.sum()
        for axis in range(3)
    )

    assert (2.0, -1.0, 0.5) == pytest.approx((z, y, x), abs=0.01)


def test_turns_are_all_as_likely() -> None:
    """A shape that mostly stands upright is another problem. Scipy has its own random rotations:
    the mean of each is 0, and a matrix times its transpose is 1."""
    rng = np.random.default_rng(0)
    turns = np.stack([turn(rng) for _ in range(4000)])
    others = Rotation.random(4000, random_state=1).as_matrix()

    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    for moment in (1, 2):
        mine, theirs = ((each**moment).mean(axis=0) for each in (turns, others))
        np.testing.assert_allclose(mine, theirs, atol=0.05)


def test_every_volume_follows_from_its_id() -> None:
    """A pool of another size would hold other volumes, and a store made again be another."""
    few, many = SimulatedSubtomograms(pool=4, size=8), SimulatedSubtomograms(pool=40, size=8)
    first, again = ([*x.source().pool.images][:4] for x in (few, many))
    (other,) = SimulatedSubtomograms(pool=1, size=8, seed=1).source().pool.images

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other) and not np.array_equal(first[0], first[1])
    assert (1, 8, 8, 8) == first[0].shape and np.float32 == first[0].dtype
