"""A look at Parquet files of images that nobody has labeled."""

from glob import glob
from pathlib import Path

from rayal.errors import UsageError, counted, some
from rayal.storage.columns import tensor_shape
from rayal.storage.parquet import open_parquet
from rayal.storage.yaml_text import flow
from rayal.workflows.init.found import POOLS, TESTS, Found, folders_in, model_for
from rayal.workflows.init.parquet import GUESS, Columns, likely_pattern, rows_of, size_of
from rayal.workflows.init.photos import FILL_IN

ALL = "*.parquet"
UNSEEN = Found(
    {
        "root": "data",
        "there": "A path from here, or a whole one.",
        "pool": "['*.parquet']",
        "test": "[]",
        "id": "id",
        "image": "image",
        "test_label": "null",
        "classes": FILL_IN,
        "named": "It is empty: fill it in.",
        "sizes": "64 is fast. Without this line: as the images are, where all have one size.",
        "size": "size: 64",
        "model": "resnet18",
    },
    pool=2000,
)


def look(root: Path) -> Found:
    """Raises UsageError where there are no files, DataError for what is none."""
    folders_in(root)
    pool, test = likely_pattern(root, ("pool", *POOLS)), likely_pattern(root, TESTS)
    if pool is None and test is None and glob(ALL, root_dir=root):
        pool = ALL
    if pool is None:
        there = sorted(glob("**/*.parquet", root_dir=root, recursive=True))
        raise UsageError(
            f"root {root} holds {some(there) or 'no Parquet files'}, but files of images to label"
            " are expected in it, pool*.parquet; rename them, or leave root out and write"
            " dataset.pool yourself"
        )
    files = sorted(glob(pool, root_dir=root))
    first = str(root / files[0])
    with open_parquet(first) as parquet:
        schema = parquet.schema_arrow
    columns = Columns.of(schema)
    kind = None if columns.image is None else schema.field(columns.image).type
    size, raw = size_of(root, first, columns.image, kind), kind is not None and tensor_shape(kind)
    count = sum(rows_of(root / file) for file in files)
    lines, label = columns.lines(schema.names), None if test is None else _test_label(root, test)
    said = f"{counted(count, 'row')} to label, images in column {columns.image!r}."
    return Found(
        {
            "there": f"{counted(count, 'row')} in {counted(len(files), 'file')} of {pool}.",
            "pool": flow([pool]),
            "test": "[]" if test is None else flow([test]),
            "id": lines["id"],
            "image": lines["image"],
            "test_label": "null" if label is None else flow(label),
            "classes": FILL_IN,
            "named": "It is empty: fill it in.",
            "sizes": "These are pixels, in one size." if raw else str(size or ""),
            "size": "# size: 32" if raw else f"size: {(size or GUESS).side}",
            "model": model_for(min(size or GUESS)) if raw else model_for((size or GUESS).side),
        },
        count,
        told=f"{said} Fill in dataset.classes",
    )


def _test_label(root: Path, pattern: str) -> str | None:
    with open_parquet(str(root / sorted(glob(pattern, root_dir=root))[0])) as parquet:
        return Columns.of(parquet.schema_arrow).label
