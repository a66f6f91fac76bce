"""ImageNet (ILSVRC 2012): 1,281,167 training and 50,000 validation images, 1,000 classes."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import torch
from pydantic import PositiveInt

from rayal.data.datasets.image_folder import ImageFolder
from rayal.data.source import Keep
from rayal.errors import DataError, quoted

META, SYNSETS, SOLUTION = "meta.bin", "LOC_synset_mapping.txt", "LOC_val_solution.csv"


class Imagenet(ImageFolder):
    """`root/train/n01440764/*.JPEG` and `root/val/n01440764/*.JPEG`, read where they are.

    The validation images are the test split. Where they lie in no class folders, as in the official
    archive, `root/LOC_val_solution.csv` of Kaggle or `root/meta.bin`, which torchvision makes of
    the devkit (`torchvision.datasets.imagenet.parse_devkit_archive`), says which class each has.
    Kaggle's archive is read as it is with `pool: ILSVRC/Data/CLS-LOC/train` and
    `test: ILSVRC/Data/CLS-LOC/val`. `root/LOC_synset_mapping.txt` or `root/meta.bin` gives the
    classes readable names.

    The images are neither copied nor decoded while preparing: one that is missing or damaged shows
    up while scoring, and ends a training with its name. They are identified by name and size only.

    *Source*: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015.
    """

    layout: ClassVar[str] = "train/ and val/ with a folder for each of the 1,000 wnids"
    origin: ClassVar[str] = "https://image-net.org"
    licence: ClassVar[str] = "research and education only"

    test: str = "val"
    """Folder of the test images, below root."""
    encoding: Keep = "uri"
    """How the store keeps images: decoded once (`raw`), as they are (`bytes`), or only where they
    lie (`uri`); `auto`: raw up to 64 pixels a side, larger ones as bytes."""
    verify: bool = False
    """Decode every image once while preparing (about three hours of one core)."""
    size: PositiveInt | None = 224
    """Side of the square that networks see (pixels); null: as `shape` or `canvas` say."""
    resize: PositiveInt | None = 256
    """Shorter side before the centre is cut out (pixels); null: `size`."""
    mean: tuple[float, ...] | None = (0.485, 0.456, 0.406)
    """Mean per channel, of pixels in [0, 1]; null: computed from the pool, with `verify`."""
    std: tuple[float, ...] | None = (0.229, 0.224, 0.225)
    """Standard deviation per channel, given together with mean; null: computed from the pool."""

    def files(self) -> list[str]:
        tables = [name for name in (META, SYNSETS, SOLUTION) if (self.folder / name).exists()]
        return [*tables, *super().files()]

    def identity(self, path: str) -> str:
        """The size of an image: 140 GB are not read to see whether a store is there."""
        if os.path.basename(path) in (META, SYNSETS, SOLUTION):
            return super().identity(path)
        return str(os.stat(path).st_size)

    def classes_of(self, split: str, paths: Sequence[str]) -> Sequence[str]:
        """The wnid of each image: its folder, or what the tables say of a flat `test`."""
        if split != self.test or not any("/" not in path[len(split) + 1 :] for path in paths):
            return super().classes_of(split, paths)
        table, wnids = self._truth(split)
        try:
            return [wnids[PurePosixPath(path).stem] for path in paths]
        except KeyError as error:
            raise DataError(
                f"{table} does not say which class {split}/{error.args[0]} has; restore the table,"
                " or remove the image"
            ) from error

    def class_names(self, classes: Sequence[str]) -> list[str]:
        """The wnid and its first name: two classes are called crane."""
        if (table := self.folder / SYNSETS).exists():
            names = _synsets(table)
        elif (table := self.folder / META).exists():
            names, _ = _meta(table)
        else:
            return list(classes)
        if unknown := sorted(set(classes) - names.keys()):
            raise DataError(
                f"{table} does not name {len(unknown)} of the classes, first {quoted(unknown[0])};"
                " restore or remove it"
            )
        return [f"{wnid} {names[wnid]}" for wnid in classes]

    def _truth(self, split: str) -> tuple[Path, dict[str, str]]:
        """A table of the validation images, and the wnid of each by its name without suffix."""
        if (table := self.folder / SOLUTION).exists():
            return table, _solution(table)
        if (table := self.folder / META).exists():
            _, wnids = _meta(table)
            return table, {f"ILSVRC2012_val_{n:08d}": wnid for n, wnid in enumerate(wnids, 1)}
        raise DataError(
            f"{self.folder / split} has no class folders; put {SOLUTION} of Kaggle or {META} of"
            f" torchvision into {self.folder}, or the images into folders"
        )


def _synsets(table: Path) -> dict[str, str]:
    """Wnid -> first name, from lines such as `n01440764 tench, Tinca tinca`."""
    lines = [line.strip().partition(" ") for line in _text(table).splitlines() if line.strip()]
    if not lines or not all(wnid and name for wnid, _, name in lines):
        raise _damaged(table, "expected lines such as 'n01440764 tench, Tinca tinca'", "Kaggle")
    return {wnid: names.split(",")[0] for wnid, _, names in lines}


def _solution(table: Path) -> dict[str, str]:
    """Image -> wnid, the first word of its boxes: `ILSVRC2012_val_00048981,n03995372 85 1 ...`."""
    rows = csv.DictReader(_text(table).splitlines())
    try:
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (KeyError, AttributeError, IndexError, csv.Error) as error:
        problem = f"line {rows.line_num} has no ImageId or PredictionString"
        raise _damaged(table, problem, "Kaggle") from error


def _meta(table: Path) -> tuple[dict[str, str], list[str]]:
    """Wnid -> first name, and the wnids of the validation images in the order of their numbers."""
    try:
        names, wnids = torch.load(table, weights_only=True)
        return {wnid: words[0] for wnid, words in names.items()}, list(wnids)
    except Exception as error:  # torch.load raises anything on bytes that are not its own
        raise _damaged(table, str(error), "torchvision") from error


def _text(table: Path) -> str:
    try:
        return table.read_text("utf-8-sig")
    except ValueError as error:
        raise _damaged(table, str(error), "Kaggle") from error


def _damaged(table: Path, problem: str, whose: str) -> DataError:
    return DataError(
        f"{table} is not the class list of {whose}: {problem}; remove it, or make it anew"
    )
