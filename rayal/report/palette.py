"""Colours of classes: the same for a class in every picture, told apart by any colour vision.

Sources: Okabe and Ito's palette, then the colour farthest from all before it, for the eyes that see
the least difference: normal ones, or without red or green cones (Machado, Oliveira and Fernandes,
"A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1). The
distance is Euclidean in Oklab (Ottosson, 2020). With very many classes some colours are close: the
least distance, NO_CLASS included, is 0.076 for 6 to 19 classes, 0.074 for 21, 0.055 for 32, 0.036
for 64 and 0.014 for 254.

K colours, as sRGB from 0 to 1.
"""

from functools import cache

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from rayal.report.drawing import COLOURS

NO_CLASS = "#DDDDDD"
"""Of pixels without a class; no class has one like it."""
FIRST = (*COLOURS, "#F0E442")
STEPS = 14
"""Of each of red, green and blue among the colours to choose from."""
LIGHTNESS, CHROMA = (0.3, 0.9), (0.06, 0.19)
"""In Oklab: neither black, white nor grey, which are of images and of NO_CLASS, nor glaring."""

VISIONS = np.array(
    [
        np.eye(3),
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ]
)
"""Linear RGB as it is, without red and without green cones."""
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@cache
def palette(count: int) -> NDArray[np.float64]:
    """The colours of the classes 0 to count - 1, count 3; more classes change none of them."""
    chosen = [np.array(to_rgb(name)) for name in FIRST[:count]]
    if count > len(chosen):
        offered = _offered()
        seen = _seen(offered)
        nearest = np.full(len(offered), np.inf)
        for colour in (np.array(to_rgb(NO_CLASS)), *chosen):
            nearest = np.minimum(nearest, _apart(seen, colour))
        while len(chosen) < count:
            chosen.append(offered[nearest.argmax()])
            nearest = np.minimum(nearest, _apart(seen, chosen[-1]))
    colours = np.array(chosen)
    colours.flags.writeable = False  # the cache hands out one array to all
    return colours


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Of two colours, for the eyes that see the least of it."""
    return float(_apart(_seen(first[None]), second)[0])


def _offered() -> NDArray[np.float64]:
    level = np.linspace(0, 1, STEPS)
    colours = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = _seen(colours)[0].T
    inside = _within(lightness, LIGHTNESS) & _within(np.hypot(a, b), CHROMA)
    return colours[inside]


def _within(values: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= limits[0]) & (values <= limits[1])


def _apart(seen: NDArray[np.float64], colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least distance, over the visions, of K colours, as `_seen` says, from one: K."""
    found: NDArray[np.float64] = np.linalg.norm(seen - _seen(colour[None]), axis=2).min(axis=0)
    return found


def _seen(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """K colours in Oklab, as each vision sees them: visions K 3."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    visible = (linear @ VISIONS.transpose(0, 2, 1)).clip(0, 1)
    found: NDArray[np.float64] = np.cbrt(visible @ CONES.T) @ LAB.T
    return found
