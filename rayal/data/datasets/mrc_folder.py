"""Your own volumes: MRC files, with their classes in JSON files beside them."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from rayal.data.bad_image import BadImage
from rayal.data.datasets._mrc import read_volume, sides_of
from rayal.data.datasets.base import Dataset
from rayal.data.images import Volume
from rayal.data.listing import walk_images
from rayal.data.source import Source, Units
from rayal.errors import DataError, counted, quoted, some

VOLUMES, LABELS = "subtomogram_mrc", "json_label"
NAMES = {VOLUMES: ("tomotarget", ".mrc"), LABELS: ("target", ".json")}
"""Folder -> how the names of its files begin and end; between lies what they have in common."""

logger = logging.getLogger(__name__)


class MrcFolder(Dataset):
    """Volumes of cryo-ET, `root/<split>/subtomogram_mrc/tomotarget<n>.mrc`.

    The class of each is in `root/<split>/json_label/target<n>.json`, `{"name": "1bxn"}`.

    The path of a volume below `root` is its id. All have the sides that most have. Of others the
    first are named and the dataset is refused, unless `leave_out` allows as many. A file that is
    damaged or cut off is bad, as an image is that cannot be decoded: it is counted and never
    selected, see `max_bad`. Reading needs the package mrcfile (`rayal[cryo]`).

    *Source*: Wang et al., AAAI 2022, the third task (its appendix with the numbers was not found).
    *Reference*: xulabs/aitom at 44592b4, doc/tutorials/024_subtomogram_classification.ipynb: axes
    X Y Z, float32, one mean and standard deviation.
    *Differences*: a volume and its label are matched by their number, where the code matches places
    in two sorted lists, so that one missing file shifts all labels after it; test volumes are
    normalised by the pool's mean and standard deviation, where the code uses their own; files of
    other sides, at which the code stops, are named.
    """

    layout: ClassVar[str] = (
        "train/subtomogram_mrc/tomotarget1.mrc with train/json_label/target1.json, and test/ alike"
    )

    pool: str = "train"
    """Folder of the pool, below root."""
    test: str = "test"
    """Folder of the test volumes, below root."""
    classes: tuple[str, ...] | None = None
    """Names in the labels, in the order of their indices; null: those of both splits, sorted."""
    leave_out: int = Field(default=0, ge=0)
    """How many volumes of other sides may be left out, of both splits together."""
    follow_links: bool = False
    """Follow links to folders (else left out) and links that lead out of root (else an error)."""

    def files(self) -> list[str]:
        return [
            path
            for split in (self.pool, self.test)
            for folder, (_, ending) in NAMES.items()
            for path in walk_images(
                self.folder, f"{split}/{folder}", self.follow_links, frozenset([ending])
            )
        ]

    def source(self) -> Source:
        return self.source_of(self.files())

    def source_of(self, files: Sequence[str]) -> Source:
        pairs = {split: self._pairs(split, files) for split in (self.pool, self.test)}
        odd = self._odd([volume for found in pairs.values() for volume in found])
        named = {
            split: {
                volume: self._class(label) for volume, label in found.items() if volume not in odd
            }
            for split, found in pairs.items()
        }
        classes = self.classes or tuple(
            sorted({name for found in named.values() for name in found.values()})
        )
        return Source(
            classes=classes,
            pool=self._units(named[self.pool], classes),
            test=self._units(named[self.test], classes),
            origin=f"MRC files in {self.folder}",
            licence="not stated",
        )

    def _pairs(self, split: str, files: Sequence[str]) -> dict[str, str]:
        """Volume -> its label, of one split, in the order of the volumes."""
        volumes, labels = (_keyed(files, f"{split}/{folder}", *NAMES[folder]) for folder in NAMES)
        alone = [volumes[key] for key in volumes if key not in labels]
        alone += [labels[key] for key in labels if key not in volumes]
        if alone:
            raise DataError(
                f"{self.folder}: {counted(len(alone), 'file')} of {split} without the volume or the"
                f" label of the same number, first {some(alone)}; add what is missing, or take"
                " these away"
            )
        return {path: labels[key] for key, path in volumes.items()}

    def _odd(self, volumes: Sequence[str]) -> frozenset[str]:
        """The volumes that are left out, as their sides are not those of most; said in a warning.

        Raises DataError where there are more than `leave_out`.
        """
        sides = dict[str, tuple[int, ...]]()
        for path in volumes:
            try:
                sides[path] = sides_of(f"{self.folder}/{path}")
            except BadImage:  # of which a look at the whole file says the reason
                continue
        usual = next((most for most, _ in Counter(sides.values()).most_common(1)), ())
        odd = {path: found for path, found in sides.items() if found != usual}
        if not odd:
            return frozenset()
        told = some([f"{path} {found}" for path, found in odd.items()])
        several = counted(len(odd), "volume has", "volumes have")
        if len(odd) > self.leave_out:
            raise DataError(
                f"{self.folder}: {several} other sides than {usual}, first {told}; take them away,"
                f" or set dataset.leave_out: {len(odd)}"
            )
        logger.warning(
            "%s: %s other sides than %s, left out: %s", self.folder, several, usual, told
        )
        return frozenset(odd)

    def _class(self, label: str) -> str:
        """The name in a label file."""
        try:
            name = json.loads((self.folder / label).read_bytes())["name"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(
                f'{self.folder / label} is no label {{"name": "1bxn"}}: {quoted(str(error))}; write'
                " it again"
            ) from error
        if not isinstance(name, str) or not name:
            raise DataError(
                f"{self.folder / label}: name {quoted(name)} is no text; write it again"
            )
        return name

    def _units(self, named: Mapping[str, str], classes: Sequence[str]) -> Units:
        index = {name: number for number, name in enumerate(classes)}
        if strange := sorted({*named.values()} - index.keys()):
            raise DataError(
                f"{self.folder}: classes {some(strange)} are not among the"
                f" {counted(len(index), 'class', 'classes')} of dataset.classes; add them, or take"
                " their files away"
            )
        labels = [index[name] for name in named.values()]
        return Units([*named], labels, _Volumes(self.folder, [*named]))


def _keyed(files: Sequence[str], inside: str, beginning: str, ending: str) -> dict[str, str]:
    """Paths in a folder by what is between the beginning and the ending of their names."""
    found = dict[str, str]()
    for path in files:
        if not path.startswith(f"{inside}/") or not path.endswith(ending):
            continue
        name = path[len(inside) + 1 :]
        if not name.startswith(beginning):
            raise DataError(
                f"{path} is not called {beginning}<number>{ending}; rename it, or take it away"
            )
        found[name[len(beginning) : -len(ending)]] = path
    return found


class _Volumes:
    """The volumes at these paths, each read when it is asked for."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root, self.paths = root, paths

    def __iter__(self) -> Iterator[Volume | BadImage]:
        for path in self.paths:
            try:
                yield read_volume(f"{self.root}/{path}")
            except BadImage as error:
                yield error
