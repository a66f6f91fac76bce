"""A look at COCO files and the folders of their images."""

from pathlib import Path, PurePosixPath

from rayal.data.datasets.coco_images import CocoImages
from rayal.errors import UsageError, counted, some
from rayal.storage.yaml_text import flow
from rayal.workflows.init.found import (
    POOLS,
    TESTS,
    Found,
    Size,
    folders_in,
    model_for,
    spread,
    usual_size,
)

PLACES = ("*.json", "annotations/*.json", "*/*.json")
"""Where files lie, the likeliest first."""
HEAD = 4096  # bytes
LEAST = 2  # keys of COCO in a head

UNSEEN = Found(
    {
        "root": "coco",
        "there": "A path from here, or a whole one.",
        "pool": "annotations/instances_train2017.json",
        "images": "train2017",
        "test": "annotations/instances_val2017.json",
        "test_images": "val2017",
        "sizes": "64 is fast.",
        "size": "64",
        "model": "resnet18",
    },
    pool=2000,
)


def look(root: Path) -> Found:
    """Raises UsageError where there are no files for two splits, DataError for what cannot be
    used."""
    folders_in(root)
    files = files_in(root)
    pool, test = (_split(files, known) for known in (POOLS, TESTS))
    if pool is None or test is None:
        raise UsageError(
            f"root {root} has {some(files) or 'no JSON files of COCO'}, but one called train and"
            " one called test or val are expected; leave root out and write dataset.pool and"
            " dataset.test yourself"
        )
    folders = [_images(root, file) for file in (pool, test)]
    options = {"images": folders[0], "test": test, "test_images": folders[1]}
    source = CocoImages(root=str(root), pool=pool, label="largest", **options).source()
    count, chosen = len(source.pool.ids), spread([*source.pool.images])
    size = usual_size(Path(str(each)).read_bytes() for each in chosen if Path(str(each)).is_file())
    size = size or Size(64, 64)
    named = counted(len(source.classes), "category", "categories")
    return Found(
        {
            "there": f"{counted(count, 'image')} in the pool, {len(source.test.ids):,} to test.",
            "pool": flow(pool),
            "images": flow(folders[0]),
            "test": flow(test),
            "test_images": flow(folders[1]),
            "sizes": str(size),
            "size": str(size.side),
            "model": model_for(size.side),
        },
        count,
        len(source.classes),
        f"{counted(count, 'image')} with something of {named}. {size}",
    )


def files_in(root: Path) -> list[str]:
    """The paths below root of what begins as a file of COCO."""
    found = dict.fromkeys(path for place in PLACES for path in sorted(root.glob(place)))
    return [str(PurePosixPath(path.relative_to(root))) for path in found if _is_coco(path)]


def _is_coco(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
    except OSError:
        return False
    keys = ("images", "annotations", "categories", "licenses", "file_name", "supercategory")
    return sum(f'"{key}"'.encode() in head for key in keys) >= LEAST


def _split(files: list[str], known: tuple[str, ...]) -> str | None:
    """The likeliest file of a split, by its name or its folder's."""
    detections = [file for file in files if "caption" not in file and "keypoint" not in file]
    return next((file for name in known for file in detections if name in file.lower()), None)


def _images(root: Path, file: str) -> str:
    """The folder of a file's images: called as its end is, or that of the file itself."""
    beside = PurePosixPath(file)
    for name in (beside.stem.rpartition("_")[2], beside.stem):
        for place in (name, f"images/{name}"):
            if (root / place).is_dir():
                return place
    return str(beside.parent)
