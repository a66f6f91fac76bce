"""Small scenes that a network learns in seconds, in the folders of CamVid, for dense tests."""

from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = 24, 32
COLOURS = np.array([(90, 160, 230), (70, 70, 80), (200, 60, 40)])
"""Of classes 0 to 2: what is above a line, what is below, and boxes before both."""
VOID = 11


def mask(rng: np.random.Generator, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Two areas, one to three boxes and a spot without a class; H W."""
    height, width = shape
    drawn = np.zeros(shape, np.uint8)
    drawn[rng.integers(height // 3, 2 * height // 3) :] = 1
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        drawn[top : top + rng.integers(4, 9), left : left + rng.integers(4, 9)] = 2
    top, left = rng.integers(0, height - 3), rng.integers(0, width - 3)
    drawn[top : top + 3, left : left + 3] = VOID
    return drawn


def image(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The colours of its classes, not quite; H W 3."""
    colours = COLOURS[np.where(mask == VOID, 0, mask)] + rng.normal(0, 40, (*mask.shape, 3))
    return colours.clip(0, 255).astype(np.uint8)


def write(
    root: Path, pool: int = 24, test: int = 6, shapes: tuple[tuple[int, int], ...] = (SHAPE,)
):
    """`root` in the layout of SegNet; images take turns with the shapes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", pool), ("test", test)):
        for folder in (root / split, root / f"{split}annot"):
            folder.mkdir(parents=True)
        for number in range(count):
            drawn = mask(rng, shapes[number % len(shapes)])
            Image.fromarray(image(drawn, rng)).save(root / split / f"{split}-{number:03d}.png")
            Image.fromarray(drawn).save(root / f"{split}annot" / f"{split}-{number:03d}.png")
    return root
