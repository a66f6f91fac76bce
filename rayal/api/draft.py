"""A file to begin with, for images of one's own."""

import os
from pathlib import Path
from typing import Literal, NamedTuple

from rayal.workflows import init


class Draft(NamedTuple):
    """An experiment file that was written, every line of it explained.

    >>> rayal.draft("masks", "streets")
    Draft(file=PosixPath('streets.yaml'), found=None)
    """

    file: Path
    found: str | None
    """What a look at the images told, in words; None where there was no `root` to look at."""


def draft(
    data: Literal[
        "image_folder",
        "listed_folder",
        "coco_images",
        "parquet",
        "masks",
        "photos",
        "unlabeled_parquet",
    ],
    name: str = "mine",
    root: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] = ".",
) -> Draft:
    """Writes `folder/NAME.yaml`, an experiment on images of your own, as `rayal init` does.

    `data` says how they are kept: a folder for each class, a folder with metadata.csv, COCO files,
    Parquet files, or images with masks; or, where people are to label them, photos in a folder, or
    Parquet files of them. `root` is where. What is in it is looked at and filled in; without it
    that line waits for you.

    >>> rayal.draft("image_folder", "cats").file.name
    'cats.yaml'

    Raises UsageError where there is such a file, for a name that an experiment cannot have, and for
    a root that does not hold what `data` says.
    """
    return Draft(*init.write(name, data, None if root is None else Path(root), Path(folder)))
