"""Labels that exist before a run: its first labeled set, in place of random units.

Ids of a table are those of the pool. An image in a class folder, or a mask, is that of the pool
whose id is its path: below the dataset's root where it lies there, else as it lies in the class
folder, or in the folder of masks (without its suffix); the id may have more folders before that.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rayal.cycle.candidates import of_test
from rayal.data.images import Decoding
from rayal.data.label_table import Row as Given
from rayal.data.label_table import Table, is_table, read_table
from rayal.data.listing import walk_images
from rayal.data.masks import LabelValue
from rayal.data.store import Store
from rayal.data.survey import Look, look, look_at_mask
from rayal.errors import DataError, counted, quoted, some
from rayal.experiment.experiment import Experiment
from rayal.labeling.oracles.base import Label
from rayal.training.feed import batch_ends

ASKED = 64
"""Images whose masks are read at a time."""


def first_labels(x: Experiment, store: Store) -> dict[str, Label]:
    """Unit -> label of those in `x.labeled`, in the order that they are in there; each is free.

    Raises DataError with all that is wrong with any of them: units that are not in the pool or
    cannot be decoded or that guards leave out as test images, labels of no class, units with two
    labels, too few to train on.
    """
    assert x.labeled is not None
    if store.card.masks is not None:
        labels: dict[str, LabelValue] = _of_masks(x, store)
    else:
        labels = {**_of_classes(x, store)}
    try:
        batch_ends(len(labels), x.scheme.batch_size, x.compute.train_workers)
    except DataError as error:
        raise DataError(
            f"labeled: {x.labeled} holds {counted(len(labels), 'label')}, too few to train on; add"
            " some"
        ) from error
    return {unit: Label(value, 0.0) for unit, value in labels.items()}


def _of_classes(x: Experiment, store: Store) -> dict[str, int]:
    location, classes = str(x.labeled), store.card.classes
    table = read_table(location) if is_table(location) else _class_folders(x, store)
    pool, bad = {*store.pool.ids()}, store.card.bad
    strange = [
        f"{row.place}: is not in the pool of {store.card.name}; correct it, or leave it out"
        for row in table.rows
        if row.id not in pool
    ]
    damaged = [
        f"{row.place}: cannot be decoded: {bad[row.id]}; leave it out"
        for row in table.rows
        if row.id in bad
    ]
    tested = _tested(x, store, {row.place: row.id for row in table.rows})
    table.check([*strange, *damaged, *tested, *table.problems(classes)])
    return table.indices(classes)


def _class_folders(x: Experiment, store: Store) -> Table:
    """As if somebody had written down what lies in which folder."""
    ids, rows, problems = _Ids(x, store), list[Given](), list[str]()
    for path in _images(x, "class folders"):
        name, _, inside = path.partition("/")
        found = ids.of(path, inside) if inside else "lies in no class folder; move it into one"
        if isinstance(found, Unit):
            rows.append(Given(f"{x.labeled}/{path} ({quoted(found.id)})", found.id, name))
        else:
            problems.append(f"{x.labeled}/{path}: {found}")
    table = Table(str(x.labeled), rows)
    table.check(problems)
    return table


def _of_masks(x: Experiment, store: Store) -> dict[str, LabelValue]:
    ids, found, problems = _Ids(x, store, suffixes=False), dict[str, str](), list[str]()
    for path in _images(x, "masks"):
        unit = ids.of(path, path)
        if not isinstance(unit, Unit):
            problems.append(f"{x.labeled}/{path}: {unit}")
        elif unit.id in found:
            problems.append(
                f"{x.labeled}/{path}: {quoted(unit.id)} has another mask, {found[unit.id]}; leave"
                " one of them"
            )
        else:
            found[unit.id] = f"{x.labeled}/{path}"
    labels: dict[str, LabelValue] = {}
    for unit, seen in _looks(store, list(found)):
        assert store.card.masks is not None
        decoding = store.card.decoding or Decoding()
        mask = look_at_mask(found[unit], store.card.masks, decoding, seen, keep=False)
        if seen.bad or mask.fault or not isinstance(mask.label, bytes):
            problems.append(f"{quoted(unit)}: {seen.bad or mask.fault}; mend it, or take it away")
        else:
            labels[unit] = mask.label
    problems += _tested(x, store, {place: unit for unit, place in found.items()})
    Table(str(x.labeled), []).check(problems)
    return labels


def _tested(x: Experiment, store: Store, units: Mapping[str, str]) -> list[str]:
    """What is said of the labels at these places whose units guards leave out as test images."""
    out = of_test(x, store)
    return [
        f"{place}: is a test image too, which guards.test_images never trains on; leave it out"
        for place, unit in units.items()
        if unit in out
    ]


def _looks(store: Store, units: list[str]) -> Iterator[tuple[str, Look]]:
    """The images, for the sizes that their masks must have: of pixels that of all of them."""
    card = store.card
    for rows in store.pool.chunks(units, ASKED):
        for row in rows.to_pylist():
            if card.decoding is None:
                size = "x".join(map(str, card.image.sides))
                yield row["id"], Look(None, size=size, bad=card.bad.get(row["id"]))
            else:
                yield row["id"], look(row["image"], card.decoding, card.image.shape)


def _images(x: Experiment, what: str) -> list[str]:
    """Paths below the folder, which is a local one."""
    folder = Path(str(x.labeled))
    if not folder.is_dir():
        raise DataError(
            f"labeled: {folder} is neither a .csv or .parquet file nor a folder of {what}; correct"
            " the path"
        )
    paths = list(walk_images(folder, "", follow_links=True))
    if not paths:
        raise DataError(f"labeled: {folder} holds no {what}; add some, or set labeled: null")
    return paths


class Unit(NamedTuple):
    """One of the pool."""

    id: str


class _Ids:
    """The pool, by how its ids end."""

    def __init__(self, x: Experiment, store: Store, suffixes: bool = True) -> None:
        """`suffixes`: whether those of files count."""
        self.folder, self.root, self.suffixes = str(x.labeled), str(x.dataset.folder), suffixes
        self.by_name = defaultdict[str, list[str]](list)
        for unit in store.pool.ids():
            self.by_name[self._key(unit).rpartition("/")[2]].append(unit)

    def of(self, path: str, inside: str) -> Unit | str:
        """The unit of a file at this path below the folder, which is called `inside` where its id
        may be that; or why there is none."""
        below = os.path.relpath(f"{self.folder}/{path}", self.root)
        if (exact := self._ending(self._key(below), exactly=True)) and self.suffixes:
            return Unit(exact[0])
        found = self._ending(self._key(inside))
        if len(found) == 1:
            return Unit(found[0])
        if not found:
            return "no image of the pool is called like it; take it away, or rename it"
        return (
            f"{counted(len(found), 'image')} of the pool are called like it, {some(found)}; keep it"
            " in the folders that they lie in"
        )

    def _ending(self, key: str, exactly: bool = False) -> list[str]:
        named: Iterable[str] = self.by_name.get(key.rpartition("/")[2], ())
        keys = ((self._key(unit), unit) for unit in named)
        return [
            unit for each, unit in keys if each == key or not exactly and each.endswith(f"/{key}")
        ]

    def _key(self, path: str) -> str:
        return path if self.suffixes else os.path.splitext(path)[0]
