"""A look at Parquet files: which are the splits, and which columns hold images and classes."""

from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rayal.data.datasets._labels import names_in
from rayal.errors import UsageError, counted, some
from rayal.storage.columns import content, held, is_binary, is_file, is_text, plain, tensor_shape
from rayal.storage.parquet import open_parquet
from rayal.storage.yaml_text import flow
from rayal.workflows.init.found import (
    POOLS,
    TESTS,
    WIDTH,
    Found,
    Size,
    folders_in,
    model_for,
    spread,
    usual_size,
)

PLACES = ("{}*.parquet", "data/{}*.parquet", "{}*/*.parquet")
"""Where the files of a split lie; {} is its name."""
IMAGES = ("image", "img", "picture", "photo", "jpg", "png", "bytes", "pixels", "path", "file")
LABELS = ("label", "labels", "class", "category", "target", "fine_label", "y")
IDS = ("id", "image_id", "key", "name", "file_name", "filename")
"""What columns are called, the likeliest first."""
FIRST = 32
"""Images that are looked at."""
GUESS = Size(64, 64)
"""Where they cannot be."""

UNSEEN = Found(
    {
        "root": "data",
        "there": "A path from here, or a whole one.",
        "pool": "[train*.parquet]",
        "test": "[test*.parquet]",
        "id": "id",
        "image": "image",
        "label": "label",
        "named": "Names in the column or the file's metadata are found.",
        "classes": "# classes: [cat, dog]",
        "sizes": "64 is fast. Without this line: as the images are, where all have one size.",
        "size": "size: 64",
        "model": "resnet18",
    },
    pool=2000,
)


def look(root: Path) -> Found:
    """Raises UsageError where there are no files for two splits, DataError for what is none."""
    pool, test = _splits(root)
    files = sorted(glob(pool, root_dir=root))
    first = str(root / files[0])
    with open_parquet(first) as parquet:
        schema = parquet.schema_arrow
    columns = Columns.of(schema)
    kind = None if columns.image is None else schema.field(columns.image).type
    size = size_of(root, first, columns.image, kind)
    count = sum(rows_of(root / file) for file in files)
    raw = kind is not None and tensor_shape(kind)
    classes, told = _classes(first, schema, columns.label)
    rows = counted(count, "row")
    return Found(
        {
            "there": f"{rows} in {counted(len(files), 'file')} of {pool}.",
            "pool": flow([pool]),
            "test": flow([test]),
            **columns.lines(schema.names),
            "named": told,
            "classes": classes,
            "sizes": "These are pixels, in one size." if raw else str(size or ""),
            "size": "# size: 32" if raw else f"size: {(size or GUESS).side}",
            "model": model_for(min(size or GUESS)) if raw else model_for((size or GUESS).side),
        },
        count,
        told=" ".join(filter(None, [f"{rows}, {columns.told()}.", str(size or "")])),
    )


def _splits(root: Path) -> tuple[str, str]:
    """Patterns of the files of the pool and of the test images."""
    folders_in(root)
    found = [likely_pattern(root, known) for known in (POOLS, TESTS)]
    if found[0] is None or found[1] is None:
        files = sorted(glob("**/*.parquet", root_dir=root, recursive=True))
        raise UsageError(
            f"root {root} holds {some(files) or 'no Parquet files'}, but files of"
            " images to choose from and of images to measure with are expected in it,"
            " train*.parquet and test*.parquet; rename them, or leave root out and write"
            " dataset.pool and dataset.test yourself; of images that nobody has labeled give data"
            " unlabeled_parquet"
        )
    return found[0], found[1]


def likely_pattern(root: Path, known: Sequence[str]) -> str | None:
    """Of the files of a split that is called as one of these; None where there is none."""
    return next((each for each in _patterns(known) if glob(each, root_dir=root)), None)


def _patterns(known: Sequence[str]) -> Iterator[str]:
    return (place.format(name) for name in known for place in PLACES)


class Columns(NamedTuple):
    """The names of the columns that are needed; None where none of the file's looks like it."""

    image: str | None
    label: str | None
    id: str | None

    @classmethod
    def of(cls, schema: pa.Schema) -> "Columns":
        """Those that are called as is usual; of images also the only one that cannot be else."""
        kinds = {field.name: field.type for field in schema}
        pictures = [name for name, kind in kinds.items() if _may_be_image(kind)]
        sure = [name for name in pictures if not is_text(kinds[name])]
        image = _likeliest(pictures, IMAGES) or (sure[0] if len(sure) == 1 else None)
        others = [name for name, kind in kinds.items() if name != image and _may_be_label(kind)]
        label = _likeliest(others, LABELS)
        return cls(image, label, _likeliest([name for name in others if name != label], IDS))

    def lines(self, names: Sequence[str]) -> dict[str, str]:
        """Of the file: where none was found the usual name, which `plan` refuses, and what there
        is to put in its place."""
        free = [name for name in names if name not in self]
        there = f"   # (!) which of {some(free)}?" if free else "   # (!) there is none"
        numbered = f"   # (!) or one of {some(free)}" if free else ""
        return {
            "image": "image" + there if self.image is None else flow(self.image),
            "label": "label" + there if self.label is None else flow(self.label),
            "id": "null" + numbered if self.id is None else flow(self.id),
        }

    def told(self) -> str:
        """`images in column 'img', the column of classes to be filled in`."""
        found = {"images": self.image, "classes": self.label, "ids": self.id}
        lacks = "to be filled in", "to be filled in", "not found, rows are numbered"
        return ", ".join(
            f"{what} in column {name!r}" if name is not None else f"the column of {what} {lack}"
            for (what, name), lack in zip(found.items(), lacks, strict=True)
        )


def _may_be_image(kind: pa.DataType) -> bool:
    return bool(tensor_shape(kind)) or is_binary(kind) or is_file(kind) or is_text(kind)


def _may_be_label(kind: pa.DataType) -> bool:
    return is_text(kind) or plain(kind) == pa.int64()


def _likeliest(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)


def size_of(root: Path, file: str, column: str | None, kind: pa.DataType | None) -> Size | None:
    """Of the usual image among the first ones; None where they lie elsewhere, or nobody knows."""
    if column is None or kind is None:
        return None
    if shape := tensor_shape(kind):
        return Size(*shape[1:])
    with open_parquet(file) as parquet:
        batch = next(parquet.iter_batches(FIRST, columns=[column]), None)
    values = [] if batch is None else [content(each) for each in held(batch[column]).to_pylist()]
    return usual_size(_encoded(root, spread(values)))


def _encoded(root: Path, values: Sequence[bytes | str | None]) -> Iterator[bytes]:
    for value in values:
        if isinstance(value, bytes):
            yield value
        elif isinstance(value, str) and "://" not in value and (root / value).is_file():
            yield (root / value).read_bytes()


def _classes(file: str, schema: pa.Schema, label: str | None) -> tuple[str, str]:
    """The line of the classes, and what is said about it."""
    if label is None:
        return UNSEEN.values["classes"], UNSEEN.values["named"]
    meta = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    if is_text(schema.field(label).type):
        return "# classes: [cat, dog]", "The names in the column, sorted, unless given here."
    if (names := names_in(file, meta, label)) is not None:
        written = flow(list(names), WIDTH).replace("\n", "\n  # ")
        return f"# classes: {written}", "The file says it; another list can be given here."
    return "# classes: [cat, dog]", "The numbers in the column, unless given here in their order."


def rows_of(file: Path) -> int:
    """How many rows a file has."""
    with open_parquet(str(file)) as parquet:
        return int(parquet.metadata.num_rows)
