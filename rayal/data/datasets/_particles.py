"""Solid shapes in boxes of voxels, and what a tilt series of them shows.

D H W are z y x: z is the direction of the beam, y the axis that is tilted about. Coordinates run
from -1 to 1 along each side of the box.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def _rod(along: Numbers, across: Numbers, third: Numbers, radius: float = 0.17) -> Numbers:
    beyond = along - along.clip(-0.5, 0.5)
    return _ball(beyond, across, third, radius)


def _ball(x: Numbers, y: Numbers, z: Numbers, radius: float = 0.5) -> Numbers:
    distance: Numbers = np.sqrt(x**2 + y**2 + z**2) - radius
    return distance


def _lobes(x: Numbers, y: Numbers, z: Numbers, count: int, radius: float) -> Numbers:
    """Balls at equal angles on a circle."""
    angles = 2 * np.pi * np.arange(count) / count
    places = zip(0.3 * np.cos(angles), 0.3 * np.sin(angles), strict=True)
    return _nearest(*(_ball(x - a, y - b, z, radius) for a, b in places))


def _nearest(*parts: Numbers) -> Numbers:
    """Of several bodies together."""
    found: Numbers = np.minimum.reduce(parts)
    return found


SHAPES: Mapping[str, Callable[[Numbers, Numbers, Numbers], Numbers]] = {
    "ball": _ball,
    "shell": lambda x, y, z: np.abs(_ball(x, y, z)) - 0.1,
    "rod": _rod,
    "torus": lambda x, y, z: np.hypot(np.hypot(x, y) - 0.45, z) - 0.15,
    "two_lobes": lambda x, y, z: _lobes(x, y, z, 2, 0.28),
    "three_lobes": lambda x, y, z: _lobes(x, y, z, 3, 0.23),
    "cube": lambda x, y, z: np.maximum.reduce([abs(x), abs(y), abs(z)]) - 0.38,
    "plate": lambda x, y, z: np.maximum.reduce([abs(x) - 0.5, abs(y) - 0.5, abs(z) - 0.12]),
    "cross": lambda x, y, z: _nearest(
        _rod(x, y, z, 0.12), _rod(y, z, x, 0.12), _rod(z, x, y, 0.12)
    ),
    "cone": lambda x, y, z: np.maximum(np.hypot(x, y) - 0.5 * (0.5 - z), abs(z) - 0.5),
}
"""By name: about how far a point lies outside of the shape, below 0 inside."""


def density(shape: str, size: int, turn: Numbers, shift: Numbers) -> Numbers:
    """How much of each voxel a shape fills, D H W, 0 to 1, in a box of `size` voxels a side.

    `turn` (3 x 3) rotates it about the middle of the box, from which `shift` (z y x, in voxels)
    moves it.
    """
    line = np.arange(size) - (size - 1) / 2
    places = np.stack(np.meshgrid(line, line, line, indexing="ij"))
    places = (places - shift[:, None, None, None]) * (2 / size)
    z, y, x = np.tensordot(turn.T, places, axes=1)
    filled: Numbers = (0.5 - SHAPES[shape](x, y, z) * (size / 2)).clip(0, 1)
    return filled


def turn(rng: np.random.Generator) -> Numbers:
    """A rotation (3 x 3), all as likely: that of a random unit quaternion (Shoemake 1992)."""
    w, x, y, z = (quaternion := rng.normal(size=4)) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def seen(size: int, tilt: float) -> NDArray[np.bool_]:
    """Which frequencies of a box a tilt series from -`tilt` to `tilt` degrees measures, in the
    order of `np.fft.fftn`. By the projection-slice theorem each tilt gives the plane through 0 at
    right angles to its beam: together they leave out a wedge on both sides of the z axis."""
    frequency, angle = np.abs(np.fft.fftfreq(size)), np.radians(tilt)
    z, x = frequency[:, None, None], frequency[None, None, :]
    found: NDArray[np.bool_] = z * np.cos(angle) <= x * np.sin(angle) + 1e-12
    return np.broadcast_to(found, (size, size, size))


def measured(volume: Numbers, tilt: float) -> Numbers:
    """What a tilt series shows of a box, D H W."""
    spectrum = np.fft.fftn(volume) * seen(len(volume), tilt)
    shown: Numbers = np.fft.ifftn(spectrum).real
    return shown
