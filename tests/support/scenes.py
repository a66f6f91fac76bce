"""Small scenes that a network learns in seconds, in the folders of CamVid, for dense tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from rayal.testing.scenes import SHAPE, image, mask

VOID = 11


def write(
    root: Path, pool: int = 24, test: int = 6, shapes: tuple[tuple[int, int], ...] = (SHAPE,)
):
    """`root` in the layout of SegNet; images take turns with the shapes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", pool), ("test", test)):
        for folder in (root / split, root / f"{split}annot"):
            folder.mkdir(parents=True)
        for number in range(count):
            drawn = mask(rng, shapes[number % len(shapes)], VOID)
            Image.fromarray(image(drawn, rng)).save(root / split / f"{split}-{number:03d}.png")
            Image.fromarray(drawn).save(root / f"{split}annot" / f"{split}-{number:03d}.png")
    return root
