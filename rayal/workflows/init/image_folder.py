"""A look at a folder for each split and in it one for each class."""

from pathlib import Path, PurePosixPath

from rayal.data.listing import class_folder, class_images, common_classes
from rayal.errors import UsageError, counted, quoted, some
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

MASKS = {"mask", "masks", "label", "labels", "annotation", "annotations", "annot"}
"""What folders of masks are called."""
MANY = 200
"""Classes that are too many to write out."""

UNSEEN = Found(
    {
        "root": "photos",
        "there": "A path from here, or a whole one.",
        "pool": "train",
        "test": "test",
        "classes": "# classes: [cat, dog]   # without this line: all folders, sorted",
        "sizes": "64 is fast.",
        "size": "64",
        "model": "resnet18",
    },
    pool=2000,
)


def look(root: Path) -> Found:
    """Raises UsageError where there are no two splits, DataError where their classes differ."""
    folders = folders_in(root)
    pool, test = split_of(folders, POOLS), split_of(folders, TESTS)
    if pool is None or test is None:
        raise UsageError(
            f"root {root} holds {some(folders) or 'no folders'}, but a folder of images to choose"
            " from and one of images to measure with are expected in it, train/<class>/ and"
            " test/<class>/; make these, or leave root out and write dataset.pool and"
            " dataset.test yourself; of images that nobody has labeled give data photos"
        )
    paths = {split: list(class_images(root, split)) for split in (pool, test)}
    classes = common_classes(
        {split: {class_folder(path, split) for path in paths[split]} for split in paths}
    )
    chosen = spread(paths[pool])
    size = usual_size((root / path).read_bytes() for path in chosen) or Size(64, 64)
    count = len(paths[pool])
    return Found(
        {
            "there": f"{counted(count, 'image')} in {pool}, {len(paths[test]):,} in {test}.",
            "pool": flow(pool),
            "test": flow(test),
            "classes": _classes(classes),
            "sizes": str(size),
            "size": str(size.side),
            "model": model_for(size.side),
        },
        count,
        len(classes),
        f"{counted(count, 'image')} of {counted(len(classes), 'class', 'classes')}. {size}"
        + _looks_like_masks(paths[pool], pool, classes),
    )


def _looks_like_masks(paths: list[str], pool: str, classes: list[str]) -> str:
    """A hint where one of two classes is called as masks are, and its files as those of the other:
    such masks would be learned as images of a class."""
    if len(classes) != 2 or not MASKS & {name.lower() for name in classes}:
        return ""
    stems = [
        {PurePosixPath(path).stem for path in paths if class_folder(path, pool) == name}
        for name in classes
    ]
    if stems[0] != stems[1]:
        return ""
    one, other = classes
    return (
        f" The files of {quoted(one)} and {quoted(other)} have the same names: if these are images"
        " and their masks, use --data masks (in Python: data='masks') and another name"
    )


def _classes(classes: list[str]) -> str:
    if len(classes) > MANY:
        return f"# classes: all {len(classes):,} folders, sorted, where this is not given"
    return f"classes: {flow(classes, WIDTH)}".replace("\n", "\n    ")
