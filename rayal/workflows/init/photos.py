"""A look at a folder of photographs that nobody has labeled."""

from pathlib import Path

from rayal.data.listing import class_folder, list_images
from rayal.errors import UsageError, counted
from rayal.storage.yaml_text import flow
from rayal.workflows.init.found import (
    POOLS,
    TESTS,
    WIDTH,
    Found,
    Size,
    folders_in,
    model_for,
    split_of,
    spread,
    usual_size,
)

FILL_IN = "[]"
"""A list of classes that `plan` refuses, until somebody fills it in."""
UNSEEN = Found(
    {
        "root": "photos",
        "there": "A path from here, or a whole one.",
        "pool": "'.'",
        "test": "null",
        "classes": FILL_IN,
        "named": "It is empty: fill it in.",
        "sizes": "64 is fast.",
        "size": "64",
        "model": "resnet18",
    },
    pool=2000,
)


def look(root: Path) -> Found:
    """Raises UsageError where there is no image to label."""
    folders = folders_in(root)
    test = split_of(folders, TESTS)
    inside = split_of(folders, ("pool", *POOLS)) if test is not None else None
    found = list_images(root, inside or "")
    paths = [path for path in found if test is None or not path.startswith(f"{test}/")]
    if not paths:
        raise UsageError(f"root {root} holds no images to label; check the path")
    tests = [] if test is None else list_images(root, test)
    classes = sorted({class_folder(path, str(test)) for path in tests})
    size = usual_size((root / path).read_bytes() for path in spread(paths)) or Size(64, 64)
    images = counted(len(paths), "image")
    named = "Those of the test images." if classes else "It is empty: fill it in."
    return Found(
        {
            "there": f"{images} to label, {len(tests):,} to measure with.",
            "pool": flow(inside or "."),
            "test": flow(test) if tests else "null",
            "classes": flow(classes, WIDTH).replace("\n", "\n    ") if classes else FILL_IN,
            "named": named,
            "sizes": str(size),
            "size": str(size.side),
            "model": model_for(size.side),
        },
        len(paths),
        max(1, len(classes)),
        f"{images} to label. {size}" + ("" if classes else " Fill in dataset.classes"),
    )
