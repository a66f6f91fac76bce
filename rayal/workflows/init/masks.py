"""A look at images and masks: how their folders are called, and what numbers the masks hold."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rayal.data import picture
from rayal.data.listing import list_images
from rayal.data.masks import FORMATS, IGNORE, MODES
from rayal.errors import DataError, UsageError, counted, some
from rayal.storage.yaml_text import flow
from rayal.workflows.init.found import (
    POOLS,
    TESTS,
    WIDTH,
    Found,
    Size,
    folders_in,
    split_of,
    spread,
    usual_size,
)

LAYOUTS = (
    *(("*/images", f"*/{masks}") for masks in ("masks", "labels", "annotations")),
    *(("images/*", f"{masks}/*") for masks in ("masks", "labels", "annotations")),
    *(("*", f"*{masks}") for masks in ("_masks", "annot", "_labels")),
)
"""Folders of images and of their masks; * stands for the split."""
BINARY = [0, IGNORE]
"""What masks of one thing and its background hold."""

UNSEEN = Found(
    {
        "root": "scenes",
        "there": "A path from here, or a whole one.",
        "images": "'*/images'",
        "masks": "'*/masks'",
        "pool": "[train]",
        "test": "[test]",
        "named": "In the order of their numbers in the masks.",
        "classes": "[background, object]",
        "values": "# values: [0, 128]",
        "ignore": "[255]",
        "sizes": "In the proportions of the images, in multiples of 8.",
        "shape": "[128, 128]",
    },
    pool=2000,
)


class Classes(NamedTuple):
    """What the numbers in masks could mean."""

    names: list[str]
    values: list[int] | None
    """The number of each; None: 0, 1, 2 and so on."""
    ignore: list[int]


def look(root: Path) -> Found:
    """Raises UsageError where no images and masks are found, DataError for what is no mask."""
    images, masks, pool, test = _layout(root)
    paths = list_images(root, images.replace("*", pool))
    labels = list_images(root, masks.replace("*", pool))
    size = usual_size((root / path).read_bytes() for path in spread(paths)) or Size(128, 128)
    seen = spread(labels)
    numbers = sorted({number for path in seen for number in _numbers(root / path)})
    classes = classes_of(numbers)
    return Found(
        {
            "there": f"{counted(len(paths), 'image')} in {pool}.",
            "images": flow(images),
            "masks": flow(masks),
            "pool": flow([pool]),
            "test": flow([test]),
            "named": (
                f"{counted(len(seen), 'mask holds', 'masks hold')} the numbers {_shown(numbers)}."
            ),
            "classes": flow(classes.names, WIDTH).replace("\n", "\n    "),
            "values": _values(classes.values),
            "ignore": flow(classes.ignore),
            "sizes": str(size),
            "shape": flow(size.shape),
        },
        len(paths),
        told=f"{counted(len(paths), 'image')}, masks with the numbers {_shown(numbers)}. {size}",
    )


def classes_of(numbers: Sequence[int]) -> Classes:
    """The classes that masks with these numbers could have; two at least."""
    if list(numbers) == BINARY:
        return Classes(["background", "object"], BINARY, [])
    used = [number for number in numbers if number != IGNORE]
    count = max([1, *used]) + 1
    if count <= 2 * max(len(used), 1) or len(used) < 2:
        return Classes([f"class_{number}" for number in range(count)], None, [IGNORE])
    return Classes([f"class_{number}" for number in used], used, [IGNORE])


def _layout(root: Path) -> tuple[str, str, str, str]:
    """Folders of images and masks, with * for the split, the split of the pool and that of the
    test images."""
    folders = {*_below(root)}
    for images, masks in LAYOUTS:
        there = [
            split_of([s for s in known if {_of(s, images), _of(s, masks)} <= folders], known)
            for known in (POOLS, TESTS)
        ]
        if there[0] and there[1]:
            return images, masks, there[0], there[1]
    raise UsageError(
        f"root {root} holds {some(sorted(folders)) or 'no folders'}, but images and their masks"
        " are expected in it, train/images/, train/masks/, test/images/ and test/masks/; make"
        " these, or leave root out and write dataset.images and dataset.masks yourself"
    )


def _below(root: Path) -> Iterator[str]:
    """The folders in a folder, and those in them."""
    for name in folders_in(root):
        yield name
        yield from (f"{name}/{inner}" for inner in folders_in(root / name))


def _of(split: str, folder: str) -> str:
    return folder.replace("*", split)


def _numbers(file: Path) -> set[int]:
    """The numbers in a mask."""
    try:
        with picture.opened(file.read_bytes(), FORMATS) as image:
            if image.mode not in MODES:
                raise ValueError(f"it has mode {image.mode}")
            return set(np.unique(np.array(picture.upright(image))).tolist())
    except Exception as error:  # decoders raise anything
        raise DataError(
            f"{file} is no mask with one number a pixel ({error}); convert it to a grey or palette"
            " PNG"
        ) from error


def _values(values: list[int] | None) -> str:
    return "# values: [0, 128]" if values is None else f"values: {flow(values, WIDTH)}"


def _shown(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:20]))
    return shown + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
